"""`${env:NAME}` and `${env:NAME:-default}`: addresses and names of credentials that differ between machines.

Pure: the variables are given. `environments.load` calls it while it turns the tree into plain data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from environments.errors import Problem
from environments.trust import ALLOWED_VARIABLES, STORE, trust_of
from environments.yaml_tree import Block, Items, Lines, Node, PathPart, Scalar, join_path

Unset = Literal["refuse", "keep"]
ADDRESSES = (
    "store",
    "registry.mlflow",
    "regions.*.context",
    "regions.*.profile",
    "regions.*.prometheus",
    "endpoints.*.rollout.limits[[]*].query",
)
WHOLE = ("store", "registry.mlflow", "regions.*.prometheus")
"""Addresses of servers: a variable in the middle of one would be sent to a host that the file names."""
_MARKER = "${env:"
_REFERENCE = re.compile(r"\$\{env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-(?P<default>(?:(?!\$\{)[^}])*))?\}")


@dataclass
class Interpolation:
    """Turns a tree into plain data and notes what is wrong with the references in it.

    `unset="keep"` leaves a reference to an unset variable as it is written, for callers that connect to nothing.
    """

    lines: Lines
    environ: Mapping[str, str]
    unset: Unset = "refuse"
    problems: dict[tuple[PathPart, ...], Problem] = field(default_factory=dict)
    from_outside: set[str] = field(default_factory=set)
    """Paths whose value came from a variable, not from the file."""

    def plain(self, node: Node, path: tuple[PathPart, ...] = ()) -> Any:
        """Return dicts, lists and scalars."""
        match node:
            case Block(entries=entries):
                return {key: self.plain(value, (*path, key)) for key, (_, value) in entries.items()}
            case Items(items=items):
                return [self.plain(item, (*path, index)) for index, item in enumerate(items)]
            case Scalar(value=str() as text) if _MARKER in text:
                return self._resolve(text, path, node.line)
            case Scalar(value=value):
                return value

    def _resolve(self, text: str, path: tuple[PathPart, ...], line: int) -> str:
        name = join_path(path)
        where = f"{self.lines.file}:{line}"
        if not any(fnmatchcase(name, pattern) for pattern in ADDRESSES):
            self.problems[path] = Problem(
                where,
                "SPEC-040",
                f"{name} takes no `${{env:…}}`",
                "what is released must stand in the file, or a plan would depend on whose machine made it",
                "write the value; variables are for store, registry.mlflow, context, profile, prometheus, query",
            )
            return text
        if _MARKER in _REFERENCE.sub("", text):
            self.problems[path] = Problem(
                where,
                "SPEC-041",
                f"{name} holds a `${{env:` that is not complete",
                "",
                "write ${env:NAME} or ${env:NAME:-default}",
            )
            return text
        if problem := self._untrusted(name, text, where):
            self.problems[path] = problem
            return text
        return _REFERENCE.sub(lambda found: self._value(found, path, where), text)

    def _untrusted(self, name: str, text: str, where: str) -> Problem | None:
        """Return what is wrong with the variables in a value, in the eyes of whoever runs a stranger's pull request."""
        trust = trust_of(self.environ)
        for found in _REFERENCE.finditer(text):
            variable = found["name"]
            if not trust.allows_variable(variable) or (variable == STORE and name != "store"):
                why = "a changed file must not read what else this machine knows, and send it to a server that it names"
                do = f"call it SLUICE_…, or allow it where Sluice runs: export {ALLOWED_VARIABLES}={variable}"
                if variable == STORE:
                    why, do = (
                        "it holds the store's password, and this is sent to another server",
                        "use another variable",
                    )
                return Problem(where, "SPEC-046", f"{name} may not read the variable {variable}", why, do)
        if any(fnmatchcase(name, pattern) for pattern in WHOLE) and not _REFERENCE.fullmatch(text):
            return Problem(
                where,
                "SPEC-047",
                f"{name} has a variable in the middle",
                "its value would be sent to the host that stands around it",
                "let the variable hold the whole address: ${env:SLUICE_NAME:-http://…}",
            )
        return None

    def _value(self, found: re.Match[str], path: tuple[PathPart, ...], where: str) -> str:
        value = self.environ.get(found["name"])
        if value or (value is not None and not found["fallback"]):
            self.from_outside.add(join_path(path))
            return value
        if found["fallback"]:
            return found["default"]
        if self.unset == "refuse":
            self.problems[path] = Problem(
                where,
                "SPEC-042",
                f"{join_path(path)} needs the variable {found['name']}, which is not set",
                "the file gives no default for it",
                f"export {found['name']}=…, or write ${{env:{found['name']}:-default}}",
            )
        return found[0]
