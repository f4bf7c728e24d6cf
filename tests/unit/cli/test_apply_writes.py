"""What `sluice apply` writes before it acts: nothing until somebody has agreed."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.operations import note_guards as module
from reconciler.planning.planner import Planner
from tests.support.reviewed import Project


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the environments of which guards were written down; each is written down as it would be."""
    kept, found = module.note_guards, list[str]()

    async def noting(planner: Planner, *args: Any, **more: Any) -> tuple[str, ...]:
        found.append(planner.loaded.spec.environment)
        return await kept(planner, *args, **more)

    monkeypatch.setattr(module, "note_guards", noting)
    return found


def test_guards_are_written_down_when_somebody_has_agreed_and_not_before(project: Project, noted: list[str]) -> None:
    assert "cannot prompt" in project.refused("apply", "dev")["what"]
    assert noted == []
    project.call("apply", "dev", "--yes", code=4)
    assert noted == ["dev"]


def test_the_world_is_read_once_for_plan_and_approvals(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only an apply is asked is asked of the facts that were planned with."""
    read, look = list[object](), Planner.world

    async def world(planner: Planner, *args: Any, **more: Any) -> Any:
        read.append(args)
        return await look(planner, *args, **more)

    monkeypatch.setattr(Planner, "world", world)
    project.refused("apply", "dev")
    assert len(read) == 1
