"""The shape of every AWS resource, read out of the installed pulumi-aws package: inputs, which are required, outputs.

Imports pulumi-aws one module at a time, because all of it takes seconds. Called by `aws_provider`.
"""

from __future__ import annotations

import enum
import functools
import importlib
import importlib.util
import inspect
import json
import re
import sys
import typing
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

from tests.support.pulumi_engine.provider import Failure
from tests.support.pulumi_engine.wire import UNKNOWN, Properties

_REGISTERED = re.compile(r'resource_modules="""(.*?)"""', re.DOTALL)
_FORCES_NEW = re.compile(r"forces? (a |the )?(new resource|replacement|creation of a new)", re.IGNORECASE)


@dataclass(frozen=True)
class Shape:
    """What a class takes or gives, by wire name; `immutable` are the inputs whose documentation says so."""

    hints: Mapping[str, Any]
    required: frozenset[str] = frozenset()
    immutable: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ResourceType:
    """The shape of one resource: what a program may set, and what it may read."""

    inputs: Shape
    outputs: Shape


@functools.lru_cache
def resource_type(token: str) -> ResourceType | None:
    """Return the shape of `aws:ec2/vpc:Vpc`, or nothing when the installed package has no such resource."""
    place = _resources().get(token)
    if place is None:
        return None
    package, name = place
    resource = getattr(importlib.import_module(package), name)
    module = sys.modules[resource.__module__]
    # Where a nested class of another resource is called `{name}Args` already, the package writes `{name}InitArgs`.
    arguments = getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")
    return ResourceType(shape(arguments), shape(resource))


def known_tokens() -> list[str]:
    """Return the token of every resource that the installed package has."""
    return sorted(_resources())


@functools.lru_cache
def shape(cls: type) -> Shape:
    """Return the shape of an arguments class, a resource class or an output class of the SDK."""
    import pulumi

    hints, immutable, wire = {}, set(), {}
    for python_name, getter in inspect.getmembers(cls, lambda member: isinstance(member, property)):
        name = getattr(getter.fget, "_pulumi_name", None)
        if name is None or (python_name in ("id", "urn") and issubclass(cls, pulumi.Resource)):
            continue
        hints[name] = _hint(cls, getter)
        wire[python_name] = name
        if _FORCES_NEW.search(getter.__doc__ or ""):
            immutable.add(name)
    parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    required = {wire[p.name] for p in parameters if p.default is p.empty and p.name in wire}
    return Shape(hints, frozenset(required), frozenset(immutable))


def failures(token: str, inputs: Properties) -> Iterator[Failure]:
    """Yield what is wrong with a resource's inputs: unknown, missing, or of another type; deep."""
    found = resource_type(token)
    if found is None:
        yield Failure("", f'the installed pulumi-aws package has no resource "{token}"')
        return
    yield from _in_object(inputs, found.inputs, "")


def configuration_failures(inputs: Properties) -> Iterator[Failure]:
    """Yield what is wrong with the inputs of a provider resource."""
    from pulumi_aws import ProviderArgs

    yield from _in_object({k: v for k, v in inputs.items() if k != "version"}, shape(ProviderArgs), "")


def alternatives(hint: Any) -> list[Any]:
    """Return the plain types behind a hint, without `None`, `Awaitable` and `Output`."""
    import pulumi

    if typing.get_origin(hint) in (typing.Union, UnionType):
        return [kind for part in typing.get_args(hint) for kind in alternatives(part)]
    unwrapped = typing.get_origin(hint) or hint
    if unwrapped in (NoneType, Awaitable, pulumi.Output) or isinstance(hint, typing.ForwardRef):
        return []
    return [hint]


def optional(hint: Any) -> bool:
    """Return whether a value may be absent, looking through `Output[Optional[…]]`."""
    import pulumi

    if typing.get_origin(hint) is pulumi.Output:
        return optional(typing.get_args(hint)[0])
    return typing.get_origin(hint) in (typing.Union, UnionType) and NoneType in typing.get_args(hint)


def output_kind(hint: Any) -> Any:
    """Return the first plain type of an output's hint."""
    import pulumi

    if typing.get_origin(hint) is pulumi.Output:
        return output_kind(typing.get_args(hint)[0])
    return next(iter(alternatives(hint)), Any)


def is_object(kind: Any) -> bool:
    """Return whether a type is a nested class of the SDK."""
    from pulumi import _types

    return inspect.isclass(kind) and (_types.is_input_type(kind) or _types.is_output_type(kind))


def _in_object(value: Properties, expected: Shape, path: str) -> Iterator[Failure]:
    from environments.errors import nearest

    for name in sorted(expected.required - value.keys()):
        yield Failure(_join(path, name), f'missing required input "{name}"')
    for name, inner in value.items():
        if name == "__defaults":
            continue
        if name not in expected.hints:
            yield Failure(_join(path, name), f'unknown input "{name}" ({nearest(name, expected.hints)})')
        else:
            yield from _in_value(inner, expected.hints[name], _join(path, name))


def _in_value(value: Any, hint: Any, path: str) -> Iterator[Failure]:
    kinds = alternatives(hint)
    if value is None or value == UNKNOWN or Any in kinds or not kinds:
        return
    problems = [list(_in_kind(value, kind, path)) for kind in kinds]
    if all(problems):
        yield from min(problems, key=lambda found: (any(f.path == path for f in found), len(found)))


def _in_kind(value: Any, kind: Any, path: str) -> Iterator[Failure]:
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if is_object(kind):
        if isinstance(value, dict):
            yield from _in_object(value, shape(kind), path)
            return
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from _in_value(inner, arguments[1], _join(path, name))
            return
    elif isinstance(value, list) and arguments:
        for place, inner in enumerate(value):
            yield from _in_value(inner, arguments[0], f"{path}[{place}]")
        return
    elif _is_scalar(value, kind):
        return
    yield Failure(path, f'"{path}" must be {_spelled(kind)}, got {type(value).__name__} {_short(value)}')


def _is_scalar(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return value in {member.value for member in kind}
    return isinstance(kind, type) and not typing.get_args(kind) and isinstance(value, kind)


def _spelled(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if arguments and issubclass(origin, Mapping):
        return f"a map of {_spelled(next(iter(alternatives(arguments[1])), Any))}"
    if arguments:
        return f"a list of {_spelled(next(iter(alternatives(arguments[0])), Any))}"
    return str(getattr(kind, "__name__", kind))


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _hint(cls: type, getter: property) -> Any:
    import pulumi

    known = vars(sys.modules[cls.__module__])
    return typing.get_type_hints(getter.fget, globalns=known, localns={"Output": pulumi.Output, "T": NoneType})[
        "return"
    ]


@functools.lru_cache
def _resources() -> dict[str, tuple[str, str]]:
    """Map each token to its module and class, as the package itself registers them."""
    found = importlib.util.find_spec("pulumi_aws")
    if found is None or found.origin is None:
        raise RuntimeError("pulumi-aws is not installed; install the extra `pulumi`")
    match = _REGISTERED.search(Path(found.origin).read_text())
    if match is None:
        raise RuntimeError("pulumi-aws no longer registers its resources as this module expects")
    return {
        token: (module["fqn"], name) for module in json.loads(match[1]) for token, name in module["classes"].items()
    }
