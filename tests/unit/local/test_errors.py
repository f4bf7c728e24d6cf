"""Every error that the local platform raises has a code of its own meaning, and says what, why and what to do."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import reconciler.platforms.local as package

MEANINGS = {
    "LEASE-002": "the lease has passed to someone else",
    "PLAT-001": "cannot be read",
    "PLAT-002": "damaged state",
    "PLAT-003": "the slot is not in a state for this",
    "PLAT-004": "no split",
    "PLAT-005": "weight for a slot without server",
    "PLAT-006": "port taken",
    "PLAT-007": "Envoy not installed",
    "PLAT-008": "a program does not start",
    "PLAT-009": "Envoy refuses",
    "PLAT-010": "Envoy does not answer or obey",
    "PLAT-011": "cannot be written",
    "PLAT-012": "lock held",
    "PLAT-013": "a process would not die",
    "PLAT-014": "not on this system",
    "PLAT-016": "a variable that servers need is not set",
}


def raised() -> dict[str, list[set[str]]]:
    """Return the keywords of every SluiceError in the package's source, by code."""
    found: dict[str, list[set[str]]] = defaultdict(list)
    folder = Path(package.__file__).parent
    for path in (*folder.glob("*.py"), folder.parent / "splits.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "SluiceError":
                code = node.args[0]
                assert isinstance(code, ast.Constant)
                found[str(code.value)].append({str(keyword.arg) for keyword in node.keywords})
    return found


def test_every_code_is_listed_and_every_listed_code_is_raised() -> None:
    assert set(raised()) == set(MEANINGS)


def test_every_error_says_what_why_and_what_to_do() -> None:
    for code, calls in raised().items():
        for keywords in calls:
            assert {"what", "why", "do"} <= keywords, code
