"""Which fields that the reconciler writes belong to somebody else, and an object's owners without these. Pure.

A field has the owners that `metadata.managedFields` names. Whoever takes their part out of it there, in the version
that was read, leaves the field's value as it is and to whoever applies it next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from environments.names import ENDPOINT_LABEL, FIELD_MANAGER
from reconciler.core.canonical import Json
from reconciler.kubernetes import Body, Kind
from reconciler.kubernetes.kinds import HTTP_ROUTE
from reconciler.platforms.kubernetes import marks
from reconciler.ports import ForeignField

_Path = tuple[str, ...]


def foreign(kind: Kind, body: Body, *, scaled: bool = False) -> tuple[ForeignField, ...]:
    """Return the fields of an object that the reconciler writes and others own, sorted.

    With `scaled` an autoscaler keeps the number of servers, which stays its own.
    """
    name = f"{kind.name} {body['metadata']['name']}"
    found = {
        ForeignField(name, ".".join(path), entry["manager"], entry["operation"], str(entry.get("time", "")))
        for entry in _others(body)
        for path in _paths(kind, entry, scaled=scaled)
    }
    return tuple(sorted(found))


def disowned(kind: Kind, body: Body, *, scaled: bool = False) -> Json:
    """Return the change that takes those fields from their owners, for the version that was read.

    Somebody has to be left who owns something of the object: the API server ignores an empty list of owners.
    """
    kept = []
    for entry in body["metadata"].get("managedFields") or ():
        paths = list(_paths(kind, entry, scaled=scaled)) if _is_other(entry) else []
        fields = _without(entry.get("fieldsV1") or {}, paths)
        if fields:
            kept.append({**entry, "fieldsV1": fields})
    metadata = {"resourceVersion": body["metadata"]["resourceVersion"], "managedFields": kept}
    return {"metadata": metadata}


def _others(body: Body) -> Iterator[Mapping[str, Any]]:
    yield from (entry for entry in body["metadata"].get("managedFields") or () if _is_other(entry))


def _is_other(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") != FIELD_MANAGER and entry.get("subresource") != "status"


def _paths(kind: Kind, entry: Mapping[str, Any], *, scaled: bool) -> Iterator[_Path]:
    """Yield where an entry owns what the reconciler writes: a route's whole spec, a workload's number of servers."""
    fields = entry.get("fieldsV1") or {}
    spec = [key.removeprefix("f:") for key in fields.get("f:spec") or {} if key.startswith("f:")]
    for name in spec:
        if kind == HTTP_ROUTE or (name == "replicas" and not scaled):
            yield "spec", name
    notes = fields.get("f:metadata") or {}
    for group in ("annotations", "labels"):
        for key in notes.get(f"f:{group}") or {}:
            if _ours(group, key.removeprefix("f:")):
                yield "metadata", group, key.removeprefix("f:")


def _ours(group: str, key: str) -> bool:
    return key.startswith(marks.PREFIX) if group == "annotations" else key == ENDPOINT_LABEL


def _without(fields: Mapping[str, Any], paths: Sequence[_Path]) -> Json:
    """Return owned fields without those at `paths`; what is empty then goes, too."""
    gone: dict[str, list[_Path]] = {}
    for first, *rest in paths:
        gone.setdefault(f"f:{first}", []).append(tuple(rest))
    kept = {}
    for key, inner in fields.items():
        rests = gone.get(key)
        if rests is None:
            kept[key] = inner
        elif () not in rests:
            left = _without(inner, rests)
            if left.keys() - {"."}:
                kept[key] = left
    return kept
