"""Load environment files that a test makes up, from a root that holds what they refer to."""

from __future__ import annotations

from pathlib import Path

import pytest

from environments.errors import Problem, SpecError
from environments.load import Loaded, load

BASE = (Path(__file__).parent / "base.yaml").read_text()
POLICIES = ("COST-002", "GPU-001", "NET-003")


def load_text(text: str | bytes, folder: Path, *, name: str = "base") -> Loaded:
    """Load a file of this content from a root that has the suite and the profile that `base.yaml` names."""
    environments = folder / "environments"
    (environments / "evals").mkdir(parents=True, exist_ok=True)
    (folder / "profiles").mkdir(exist_ok=True)
    (environments / "evals" / "chat.yaml").write_text("suite: chat\n")
    (folder / "profiles" / "chat.yaml").write_text("profile: chat\n")
    path = environments / f"{name}.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, environ={}, policy_ids=POLICIES)


def problems_of(text: str | bytes, folder: Path) -> tuple[Problem, ...]:
    """Return what `load` finds wrong."""
    with pytest.raises(SpecError) as caught:
        load_text(text, folder)
    return caught.value.problems
