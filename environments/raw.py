"""Plain data that may have any shape, read without trust, and a collector of problems by path. Pure.

The cross-checks are built on it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from environments.errors import Problem
from environments.yaml_tree import Lines, PathPart, join_path

Path = tuple[PathPart, ...]
Json = dict[str, Any]


class Check:
    """Collects problems by path; `at` is the one way to add one."""

    def __init__(self, lines: Lines, wrong: Collection[Path] = ()) -> None:
        """`wrong` are paths whose shape is wrong already: what would follow from that is not said again."""
        self._lines = lines
        self._wrong = frozenset(wrong)
        self.problems: list[Problem] = []

    def at(self, path: Path, code: str, what: str, *, why: str = "", do: str = "") -> None:
        """Note a problem at a path of the file."""
        if path not in self._wrong:
            self.problems.append(Problem(self._lines.where(path), code, what, why, do))


def check_order(check: Check, path: Path, low: Any, high: Any, high_name: str) -> None:
    """Note it when `low` is more than `high`; other checks say when one of them is no number."""
    if is_number(low) and is_number(high) and low > high:
        check.at(
            path,
            "SPEC-027",
            f"{join_path(path)} is {low}, more than {high_name}, which is {high}",
            do="swap or correct them",
        )


def regions_of(spec: Json, root: Json) -> dict[str, Any]:
    """Return the declared regions that an endpoint runs in."""
    regions = block(root.get("regions"))
    chosen = spec.get("regions")
    names: Collection[str] = regions if chosen is None else texts(chosen)
    return {name: regions[name] for name in names if name in regions}


def block(value: Any) -> Json:
    """Return a block, empty when it is something else."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """Return a list, empty when it is something else."""
    return value if isinstance(value, list) else []


def texts(value: Any) -> list[str]:
    """Return the texts of a list, without what is no text."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def is_whole(value: Any) -> bool:
    """Return whether this is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether this is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
