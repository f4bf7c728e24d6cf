"""`sluice lost-keys`: the way out of APPR-010, which nobody can take quietly, at once, or past the file's own rule."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders.signing import Person
from tests.support.reviewed import Project

APPROVALS = Path("plan.json.approvals")
DAY_S = 24 * 3600


@pytest.fixture
def people(tmp_path: Path) -> tuple[Person, Person]:
    return Person("ann", tmp_path), Person("eve", tmp_path)


@pytest.fixture
def locked_out(project: Project, people: tuple[Person, Person]) -> Project:
    """Return a project whose last apply ann approved, and whose file names eve now."""
    ann, eve = people
    project.declare(approvals={"needed": 1, "keys": [ann.listed()]})
    approved(project, ann)
    project.call("apply", "plan.json", "--json", code=4)
    project.declare(approvals={"needed": 1, "keys": [eve.listed()]})
    return project


def approved(project: Project, person: Person) -> dict[str, Any]:
    APPROVALS.unlink(missing_ok=True)
    project.call("plan", "dev", "-o", "plan.json")
    project.call("approve", "plan.json", "--key", str(person.path))
    found: dict[str, Any] = json.loads(Path("plan.json").read_text())
    return found


def later(project: Project, seconds: float) -> None:
    real = time.time
    project.environ.setattr("time.time", lambda: real() + seconds)


def warned(plan: dict[str, Any]) -> list[str]:
    return [f["message"] for f in plan["findings"] if f["policy"] == "APPR-012"]


def test_it_takes_a_day_and_every_plan_says_so(locked_out: Project, people: tuple[Person, Person]) -> None:
    ann, eve = people
    assert warned(approved(locked_out, eve)) == []
    said = json.loads(locked_out.call("lost-keys", "dev", "--reason", "the safe burnt", "--json"))
    [message] = warned(approved(locked_out, eve))
    assert "the safe burnt" in message
    assert said["after"] in message
    assert locked_out.refused("apply", "plan.json")["code"] == "APPR-010", "not before the day is over"
    later(locked_out, DAY_S - 60)
    assert locked_out.refused("apply", "plan.json")["code"] == "APPR-010"
    later(locked_out, 120)
    locked_out.call("apply", "plan.json", "--json", code=4)
    entries = json.loads(locked_out.call("history", "dev", "--json"))
    [loud] = [e for e in entries if e["kind"] == "approvers_set_aside"]
    assert "APPROVERS SET ASIDE" in loud["summary"]
    assert loud["body"]["rule"]["keys"][0]["names"] == ["ann"], "whose word is not asked for any more"
    locked_out.declare(approvals={"needed": 1, "keys": [ann.listed()]})
    assert warned(approved(locked_out, ann)) == [], "an apply has ended it"
    assert locked_out.refused("apply", "plan.json")["code"] == "APPR-010", "eve is on record now"


def test_the_files_own_rule_is_never_set_aside(locked_out: Project, people: tuple[Person, Person]) -> None:
    locked_out.call("lost-keys", "dev", "--reason", "lost")
    later(locked_out, DAY_S + 1)
    APPROVALS.unlink()
    locked_out.call("plan", "dev", "-o", "plan.json")
    assert locked_out.refused("apply", "plan.json")["code"] == "APPR-001"
    assert locked_out.refused("apply", "dev", "--yes")["code"] == "APPR-009"


def test_saying_it_again_or_later_does_not_shorten_the_day(locked_out: Project) -> None:
    first = json.loads(locked_out.call("lost-keys", "dev", "--reason", "lost", "--json"))
    later(locked_out, 3600)
    again = json.loads(locked_out.call("lost-keys", "dev", "--reason", "lost, I say", "--json"))
    assert again["after"] == first["after"]


def test_who_has_a_key_after_all_ends_it(locked_out: Project, people: tuple[Person, Person]) -> None:
    _, eve = people
    locked_out.call("lost-keys", "dev", "--reason", "lost")
    locked_out.call("lost-keys", "dev", "--withdraw", "--reason", "ann found hers")
    assert warned(approved(locked_out, eve)) == []
    later(locked_out, DAY_S + 1)
    assert locked_out.refused("apply", "plan.json")["code"] == "APPR-010"
    assert locked_out.refused("lost-keys", "dev", "--withdraw", "--reason", "x")["code"] == "APPR-011"


def test_where_nobody_is_on_record_there_is_nobody_to_set_aside(project: Project) -> None:
    assert project.refused("lost-keys", "dev", "--reason", "x")["code"] == "APPR-011"
