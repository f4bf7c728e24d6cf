"""Resources and environments for the tests of policies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from environments.load import load
from environments.spec import EnvironmentSpec
from policies.policy import Resource, StackContext
from policies.values import UNKNOWN

ROOT = Path(__file__).parents[3]
TABLE: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "infrastructure.yaml").read_text())


def shipped(name: str) -> EnvironmentSpec:
    """Return a shipped environment."""
    return load(ROOT / "environments" / f"{name}.yaml", environ={}).spec


def context(name: str = "prod") -> StackContext:
    """Return the context of a shipped environment's stack."""
    return StackContext(shipped(name))


def resources(rows: list[list[Any]]) -> list[Resource]:
    """Return the resources of a row of the table."""
    return [
        Resource(row[0], f"r{number}", filled(row[1]), f"{row[0]}::{number}", frozenset(row[2] if len(row) > 2 else ()))
        for number, row in enumerate(rows)
    ]


def filled(value: Any) -> Any:
    """Return a value with UNKNOWN for every `?`."""
    if isinstance(value, dict):
        return {key: filled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner) for inner in value]
    return UNKNOWN if value == "?" else value
