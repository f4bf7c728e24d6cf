"""Read a resource's properties when some are not known before `up`. Pure; infrastructure rules are built on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from policies.policy import Resource


class Unknown:
    """A value that a provider will fill in during `up`; a rule gives it the benefit of the doubt until then."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


def at(value: Any, path: str) -> Any:
    """Return what stands at a dotted path, None when nothing does, UNKNOWN when something on the way is not known."""
    for part in path.split("."):
        if value is UNKNOWN:
            return UNKNOWN
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def off(value: Any) -> bool:
    """Return whether a switch is known not to be on; absent is off, the text `true` is on."""
    return value is not UNKNOWN and value not in (True, "true")


def absent(value: Any) -> bool:
    """Return whether nothing is there: None or empty. UNKNOWN is something."""
    return value is not UNKNOWN and (value is None or value in ("", [], {}))


def items(value: Any) -> list[Any]:
    """Return the known items of a list; empty for anything else."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [item for item in value if item is not UNKNOWN]
    return []


def one_or_many(value: Any) -> list[Any]:
    """Return a value that may be one or a list of them, as a list; empty for None."""
    return items(value) if isinstance(value, list | tuple) else [] if value in (None, UNKNOWN) else [value]


def number(value: Any, default: float | None = None) -> float | None:
    """Return a number, `default` when nothing is there, None when it is not known or no number."""
    if value is None:
        return default
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every known text inside nested maps and lists, with its dotted path."""
    if isinstance(value, str):
        yield path, value
    inner = value.items() if isinstance(value, Mapping) else enumerate(items(value))
    for key, found in inner:
        yield from texts(found, f"{path}.{key}" if path else str(key))


def document(value: Any) -> Mapping[str, Any]:
    """Return a policy document given as JSON text or as an object; empty when it cannot be read yet."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}


def labels(resource: Resource) -> Mapping[str, Any]:
    """Return a Kubernetes object's labels."""
    found = at(resource.props, "metadata.labels")
    return found if isinstance(found, Mapping) else {}


def unseen(resource: Resource) -> bool:
    """Return whether nothing is known of a resource.

    In a preview the engine asks about whole stacks with outputs, and a provider that waits for its own configuration
    (Kubernetes, before there is a cluster) has none.
    """
    return not resource.props


def namespace(resource: Resource) -> Any:
    """Return a Kubernetes object's namespace; None for the default one, UNKNOWN when it is not known."""
    return UNKNOWN if unseen(resource) else at(resource.props, "metadata.namespace")


def companions(resource: Resource, others: Sequence[Resource], kind: str, key: str) -> Iterator[Resource]:
    """Yield resources of a type that are about `resource`: they depend on it, or name it in `key`."""
    names = [value for value in (resource.props.get("bucket"), resource.name) if isinstance(value, str)]
    for other in others:
        if other.type == kind and (resource.urn in other.depends_on or other.props.get(key) in names):
            yield other
