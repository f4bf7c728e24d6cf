"""`sluice approve --from`: statements travel where anybody can write, and only what is right is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders.signing import Person
from tests.support.reviewed import Project

APPROVALS = Path("plan.json.approvals")


@pytest.fixture
def people(tmp_path: Path) -> tuple[Person, Person, Person]:
    return Person("ann", tmp_path), Person("bob", tmp_path, kind="p256"), Person("mallory", tmp_path)


@pytest.fixture
def asked(project: Project, people: tuple[Person, Person, Person]) -> Project:
    ann, bob, _ = people
    project.declare(approvals={"needed": 2, "keys": [ann.listed("ann-gh"), bob.listed("bob-gh")]})
    project.call("plan", "dev", "-o", "plan.json")
    return project


def signed(project: Project, person: Person) -> str:
    """Return the line that a person would put into a comment."""
    APPROVALS.unlink(missing_ok=True)
    project.call("approve", "plan.json", "--key", str(person.path))
    line = APPROVALS.read_text()
    APPROVALS.unlink()
    return line


def taken(project: Project, text: str) -> Any:
    Path("comments").write_text(text)
    return json.loads(project.call("approve", "plan.json", "--from", "comments", "--json"))


def test_what_is_right_is_taken_out_of_a_conversation(asked: Project, people: tuple[Person, Person, Person]) -> None:
    ann, bob, mallory = people
    asked.declare(approvals={"needed": 1, "keys": [mallory.listed()]})
    asked.call("plan", "dev", "-o", "plan.json")
    stranger = signed(asked, mallory)
    asked.declare(approvals={"needed": 2, "keys": [ann.listed("ann-gh"), bob.listed("bob-gh")]})
    asked.call("plan", "dev", "-o", "plan.json")
    anns, bobs = signed(asked, ann), signed(asked, bob)
    forged = json.dumps(json.loads(anns) | {"payload": json.loads(bobs)["payload"]})
    told = taken(asked, f"LGTM\n```\n{anns}```\n{stranger}{forged}\n{{ {{\n{anns}\n> {bobs}\n  {bobs}")
    assert told["people"] == ["ann", "bob"], "each once, the quoted one not at all"
    assert [why.partition(":")[0] for why in told["passed_over"]] == ["APPR-002", "APPR-004"]
    assert APPROVALS.read_text() == anns + bobs
    asked.call("apply", "plan.json", "--json", code=4)


def test_an_approval_of_an_earlier_plan_does_not_carry_over(
    asked: Project, people: tuple[Person, Person, Person]
) -> None:
    ann, bob, _ = people
    old = signed(asked, ann) + signed(asked, bob)
    asked.declare(owner="others")
    asked.call("plan", "dev", "-o", "plan.json")
    told = taken(asked, old)
    assert (told["people"], len(told["passed_over"])) == ([], 2)
    assert told["passed_over"][0].startswith("APPR-005")
    assert asked.refused("apply", "plan.json")["code"] == "APPR-001"


def test_whoever_committed_to_the_change_does_not_count(asked: Project, people: tuple[Person, Person, Person]) -> None:
    ann, bob, _ = people
    both = signed(asked, ann) + signed(asked, bob)
    asked.environ.setenv("SLUICE_AUTHOR", "somebody,bob-gh")
    taken(asked, both)
    assert asked.refused("apply", "plan.json")["code"] == "APPR-006"
    asked.environ.setenv("SLUICE_AUTHOR", "somebody, somebody-else")
    taken(asked, both)
    asked.call("apply", "plan.json", "--json", code=4)


def test_the_approvers_before_a_change_of_approvers_are_taken_too(
    asked: Project, people: tuple[Person, Person, Person]
) -> None:
    ann, bob, mallory = people
    taken(asked, signed(asked, ann) + signed(asked, bob))
    asked.call("apply", "plan.json", "--json", code=4)
    before = asked.folder / "before" / "dev.yaml"
    before.parent.mkdir()
    before.write_text((asked.folder / "environments" / "dev.yaml").read_text())
    asked.declare(approvals={"needed": 1, "keys": [mallory.listed()]})
    asked.call("plan", "dev", "-o", "plan.json")
    lines = signed(asked, mallory)
    for person in (ann, bob):
        asked.call("approve", "plan.json", "-f", str(before), "--key", str(person.path))
        lines += APPROVALS.read_text()
        APPROVALS.unlink()
    assert taken(asked, lines)["people"] == ["mallory", "ann", "bob"]
    asked.call("apply", "plan.json", "--json", code=4)


def test_where_nobody_is_asked_nothing_is_taken(project: Project, people: tuple[Person, Person, Person]) -> None:
    project.call("plan", "dev", "-o", "plan.json")
    line = signed(project, people[0])
    assert taken(project, line)["people"] == []
    assert APPROVALS.read_text() == ""
    refused = project.refused("approve", "plan.json", "--from", "comments", "--key", str(people[0].path))
    assert refused["code"] == "CLI-002"
