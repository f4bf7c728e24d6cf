"""The custom resource definitions that the stacks need, as files that the engines' builder took out of Go modules.

Imports the engines' catalog. Called by `control_plane`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tests.builds.catalog import built
from tests.support.kubernetes.api import Body
from tests.support.lifeline import missing

_SEPARATORS = re.compile("[_-]")
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
SETS = (
    "gateway-api",
    "keda",
    "prometheus-operator",
    "envoy-gateway",
    "cert-manager",
    "karpenter",
    "external-secrets",
)


def bodies(sets: Collection[str] = (), only: Collection[str] = (), loose: Collection[str] = ()) -> list[Body]:
    """Return the definitions of the named sets, or of all; `only` narrows them to some plurals.

    Those in `loose` take any spec: some schemas are so large that an API server works on them for half a minute.

    Raises:
        LookupError: a set, or a plural, has no file.
    """
    files = [file for name in sets or SETS for file in _files(name)]
    plurals = {_SEPARATORS.split(file.stem)[-1]: file for file in files}
    if unknown := set(only) - plurals.keys():
        raise LookupError(f"no CRDs for {', '.join(sorted(unknown))}; there are: {', '.join(sorted(plurals))}")
    wanted = {plural: file for plural, file in plurals.items() if not only or plural in only}
    found = {plural: _documents(file) for plural, file in wanted.items()}
    for body in (body for plural in loose for body in found[plural]):
        for version in body["spec"]["versions"]:
            version["schema"]["openAPIV3Schema"]["properties"]["spec"] = dict(_ANYTHING)
    return [body for documents in found.values() for body in documents]


def names(bodies: Collection[Body]) -> list[str]:
    """Return the names of the definitions; a set may bring other objects too, which are never established."""
    return [body["metadata"]["name"] for body in bodies if body["kind"] == "CustomResourceDefinition"]


def _files(name: str) -> list[Path]:
    if name not in SETS:
        raise LookupError(f'no set of CRDs "{name}"; known: {", ".join(SETS)}')
    files = sorted((built() / "share" / "crds" / name).glob("*.yaml"))
    return files or missing(f"the CRDs of {name} are not built", "run `python -m tests.builds.build crds`")


def _documents(file: Path) -> list[Body]:
    """Return the objects in a file; PyYAML reads a plain `=` as a type of its own, Kubernetes as text."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """The safe loader that knows `=`."""

    Loader.add_constructor("tag:yaml.org,2002:value", Loader.construct_yaml_str)
    found = [_terse(body) for body in yaml.load_all(file.read_text(), Loader) if body]
    for body in found:
        body["metadata"].pop("labels", None)  # cert-manager's are Helm templates, which no API server takes
    return found


def _terse(value: Any) -> Any:
    """Leave out the descriptions in a schema: two thirds of a CRD, and nothing judges by them."""
    match value:
        case dict():
            return {k: _terse(v) for k, v in value.items() if not (k == "description" and isinstance(v, str))}
        case list():
            return [_terse(item) for item in value]
        case _:
            return value
