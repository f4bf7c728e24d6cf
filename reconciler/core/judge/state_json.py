"""The judge's state as JSON: a crash resumes mid-judgement.

A value is written by its own type and read by the type that its dataclass declares, so no field is listed twice.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from environments.errors import SluiceError
from reconciler.core.judge.state import JudgeState
from reconciler.core.model.verdict import Verdict

SCHEMA = "sluice/judge-state/v3"
_INFINITY = "inf"  # JSON has no infinities


def state_to_json(state: JudgeState) -> dict[str, Any]:
    """Return the state as a JSON object of some kilobytes; equal states give equal objects."""
    return {"schema": SCHEMA, **_plain(state)}


def state_from_json(record: object) -> JudgeState:
    """Return the state that `state_to_json` wrote.

    Raises: JUDGE-006 when it is another thing or from another version.
    """
    if not isinstance(record, Mapping) or record.get("schema") != SCHEMA:
        raise _foreign("it does not say that it is one")
    try:
        found: JudgeState = _read(record, JudgeState)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _foreign(f"{type(error).__name__}: {error}") from error
    return found


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, np.ndarray):
        return [_plain(part) for part in value] if value.ndim else _number(float(value))
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(float(key)): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return _number(value)
    return value


def _number(number: float) -> Any:
    """Return the number; without a point when it is whole, which halves the size."""
    if math.isinf(number):
        return _INFINITY if number > 0 else f"-{_INFINITY}"
    return int(number) if number.is_integer() else number


def _read(value: Any, kind: Any) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _read(value, next(part for part in parts if part is not type(None)))
    if origin is np.ndarray:
        return np.array(value, dtype=np.float64)
    if origin is not None and issubclass(origin, Mapping):
        return {_key(key, parts[0]): _read(part, parts[1]) for key, part in value.items()}
    if origin is tuple:
        inner = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        return tuple(_read(part, one) for part, one in zip(value, inner, strict=True))
    if isinstance(kind, type) and is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{item.name: _read(value[item.name], hints[item.name]) for item in fields(kind)})
    return _plain_of(value, kind)


def _key(key: str, kind: Any) -> Any:
    return float(key) if kind is float else key


def _plain_of(value: Any, kind: Any) -> Any:
    if kind is float:
        return float(value)
    return Verdict(value) if kind is Verdict else value


def _foreign(why: str) -> SluiceError:
    return SluiceError(
        "JUDGE-006", where="judge state", what="this is not a judge state of this version", why=why,
        do="replay the recorded ticks to rebuild it",
    )  # fmt: skip
