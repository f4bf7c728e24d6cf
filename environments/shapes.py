"""Which keys a place in the environment file may have, read from the types of `environments.spec`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from environments.spec import EnvironmentSpec
from environments.yaml_tree import PathPart


def known_keys(path: Sequence[PathPart], data: Any) -> tuple[str, ...]:
    """Return the keys that the block at `path` may have; empty where any key may stand.

    `data` is the file's plain data: it decides which kind of region a region is.
    """
    kind: Any = EnvironmentSpec
    for part in path:
        kind = _inner(kind, part, data)
        data = _get(data, part)
    model = _model(kind, data)
    return tuple(model.model_fields) if model else ()


def home_of(key: str) -> tuple[str, ...]:
    """Return the blocks below an endpoint that know `key`, such as `rollout` for `bake_s`."""
    from environments.spec import EndpointSpec

    return tuple(sorted(name for name, f in EndpointSpec.model_fields.items() if key in _fields(f.annotation)))


def _fields(kind: Any) -> tuple[str, ...]:
    model = _model(kind, {})
    return tuple(model.model_fields) if model else ()


def _inner(kind: Any, part: PathPart, data: Any) -> Any:
    for option in _options(kind):
        if isinstance(option, type) and issubclass(option, BaseModel):
            field = _chosen(kind, data, option).model_fields.get(str(part))
            if field:
                return field.annotation
        elif get_origin(option) is dict:
            return get_args(option)[1]
        elif get_origin(option) is list:
            return get_args(option)[0]
    return None


def _model(kind: Any, data: Any) -> type[BaseModel] | None:
    models = [o for o in _options(kind) if isinstance(o, type) and issubclass(o, BaseModel)]
    return _chosen(kind, data, models[0]) if models else None


def _chosen(kind: Any, data: Any, fallback: type[BaseModel]) -> type[BaseModel]:
    """Return the member of a union that `platform` names."""
    platform = _get(data, "platform")
    for option in _options(kind):
        field = option.model_fields.get("platform") if hasattr(option, "model_fields") else None
        if field and platform in get_args(field.annotation):
            return option  # type: ignore[no-any-return]
    return fallback


def _options(kind: Any) -> tuple[Any, ...]:
    origin = get_origin(kind)
    if origin is Annotated:
        return _options(get_args(kind)[0])
    if origin in (Union, UnionType):
        return tuple(inner for option in get_args(kind) for inner in _options(option))
    return (kind,)


def _get(data: Any, part: PathPart) -> Any:
    if isinstance(data, Mapping):
        return data.get(part)
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return None
