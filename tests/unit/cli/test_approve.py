"""`sluice approve`, and `apply` that asks who did: refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders.signing import Person
from tests.support.reviewed import Project

APPROVALS = Path("plan.json.approvals")


@pytest.fixture
def ann(tmp_path: Path) -> Person:
    return Person("ann", tmp_path)


@pytest.fixture
def bob(tmp_path: Path) -> Person:
    return Person("bob", tmp_path, kind="p256")


@pytest.fixture
def asked(project: Project, ann: Person, bob: Person) -> Project:
    """Return a project whose plan two people have to approve."""
    project.declare(approvals={"needed": 2, "keys": [ann.listed("ann-gh"), bob.listed()]})
    return project


def plan(project: Project) -> Any:
    project.call("plan", "dev", "-o", "plan.json")
    return json.loads(Path("plan.json").read_text())


def by(project: Project, person: Person) -> Any:
    return json.loads(project.call("approve", "plan.json", "--key", str(person.path), "--json"))


def refused(project: Project, what: str = "plan.json", *options: str) -> tuple[str, str]:
    problem = project.refused("apply", what, *options)
    return problem["code"], problem["what"]


def test_approvals_are_added_one_by_one_and_asked_for(asked: Project, ann: Person, bob: Person) -> None:
    made = plan(asked)
    assert refused(asked) == ("APPR-001", "0 of 2 approvals")
    said = by(asked, ann)
    assert (said["approver"], said["digest"], said["approvals"], said["needed"]) == ("ann", made["digest"], 1, 2)
    assert refused(asked) == ("APPR-001", "1 of 2 approvals (ann)")
    assert by(asked, bob)["approvals"] == 2
    assert len(APPROVALS.read_text().splitlines()) == 2
    assert json.loads(APPROVALS.read_text().splitlines()[0])["payloadType"] == "application/vnd.in-toto+json"
    assert "approved by" not in asked.call("history", "dev")
    told = json.loads(asked.call("apply", "plan.json", "--json", code=4))
    assert "PLAT-008" in told["outcomes"][0]["reason"], "it was carried out as far as it goes without a server"
    first = json.loads(asked.call("history", "dev", "--json"))[-1]
    assert (first["kind"], first["address"]) == ("approved", "dev/*/chat")
    assert first["summary"] == f"{made['digest']} approved by ann, bob"
    assert first["body"]["envelopes"] == [json.loads(line) for line in APPROVALS.read_text().splitlines()]
    assert first["body"]["rule"]["needed"] == 2


def test_the_same_person_and_strangers_are_refused_when_they_approve(
    asked: Project, ann: Person, tmp_path: Path
) -> None:
    plan(asked)
    by(asked, ann)
    again = asked.refused("approve", "plan.json", "--key", str(ann.path))
    assert (again["code"], "ann has approved" in again["what"]) == ("APPR-007", True)
    stranger = Person("mallory", tmp_path)
    assert asked.refused("approve", "plan.json", "--key", str(stranger.path))["code"] == "APPR-002"
    assert len(APPROVALS.read_text().splitlines()) == 1, "nothing was added"


def test_the_author_does_not_approve(asked: Project, ann: Person, bob: Person) -> None:
    asked.environ.setenv("SLUICE_AUTHOR", "ann-gh")
    assert plan(asked)["author"] == "ann-gh"
    assert asked.refused("approve", "plan.json", "--key", str(ann.path))["code"] == "APPR-006"
    asked.environ.delenv("SLUICE_AUTHOR")
    assert asked.refused("approve", "plan.json", "--key", str(ann.path))["code"] == "APPR-006", "the plan says it too"
    changed = json.loads(Path("plan.json").read_text()) | {"author": "bob"}
    Path("plan.json").write_text(json.dumps(changed))
    by(asked, ann)
    Path("plan.json").write_text(json.dumps(changed | {"author": "somebody"}))
    by(asked, bob)
    assert refused(asked)[0] == "APPR-006", "what ann signed says that the plan is bob's"
    asked.environ.setenv("SLUICE_AUTHOR", "ann-gh")
    assert refused(asked)[0] == "APPR-006", "whoever runs apply knows better than the file"


def test_an_altered_plan_and_approvals_of_another_one(asked: Project, ann: Person, bob: Person) -> None:
    made = plan(asked)
    by(asked, ann)
    by(asked, bob)
    Path("plan.json").write_text(json.dumps(made | {"gaps": ["none"]}))
    assert refused(asked)[0] == "PLAN-002"
    assert asked.refused("approve", "plan.json", "--key", str(ann.path))["code"] == "PLAN-002"
    asked.declare(owner="others")
    assert plan(asked)["digest"] != made["digest"]
    assert refused(asked)[0] == "APPR-005"


def test_a_file_that_was_tampered_with(asked: Project, ann: Person, bob: Person) -> None:
    plan(asked)
    by(asked, ann)
    by(asked, bob)
    good = APPROVALS.read_text()
    first = json.loads(good.splitlines()[0])
    for change, code in (
        ({"signatures": []}, "APPR-003"),
        ({"payload": first["payload"][:-4] + "AAAA"}, "APPR-004"),
        ({"payloadType": "text/plain"}, "APPR-004"),
    ):
        APPROVALS.write_text(json.dumps(first | change) + "\n" + good.splitlines()[1])
        assert refused(asked)[0] == code
    APPROVALS.write_text("what?")
    assert refused(asked)[0] == "APPR-008"


def test_without_a_saved_plan_nothing_is_applied(asked: Project) -> None:
    digest = plan(asked)["digest"]
    assert refused(asked, "dev", "--yes")[0] == "APPR-009"
    assert refused(asked, "dev", "--approve", digest)[0] == "APPR-009"


def test_who_asks_for_nobody_gets_a_signature_all_the_same(project: Project, ann: Person) -> None:
    plan(project)
    said = by(project, ann)
    assert (said["needed"], said["approvals"]) == (0, 1)


def test_a_key_is_named_once(asked: Project, ann: Person) -> None:
    plan(asked)
    assert asked.refused("approve", "plan.json")["code"] == "SIGN-004"
    both = ("--key", str(ann.path), "--kms", "arn:aws:kms:eu-west-1:1:key/2")
    assert asked.refused("approve", "plan.json", *both)["code"] == "SIGN-004"
    asked.environ.setenv("SLUICE_APPROVAL_KEY", str(ann.path))
    assert json.loads(asked.call("approve", "plan.json", "--json"))["approver"] == "ann"


def test_a_plan_of_no_live_state_cannot_be_approved(asked: Project, ann: Person) -> None:
    asked.call("plan", "dev", "--recorded", "-o", "plan.json")
    assert asked.refused("approve", "plan.json", "--key", str(ann.path))["code"] == "PLAN-007"


def test_the_approvers_of_yesterday_have_to_agree_to_those_of_today(
    asked: Project, ann: Person, bob: Person, tmp_path: Path
) -> None:
    plan(asked)
    by(asked, ann)
    by(asked, bob)
    asked.call("apply", "plan.json", "--json", code=4)
    mallory = Person("mallory", tmp_path)
    asked.declare(approvals={"needed": 1, "keys": [mallory.listed()]})
    plan(asked)
    APPROVALS.unlink()
    by(asked, mallory)
    assert refused(asked)[0] == "APPR-010"
    asked.declare(approvals=None)
    plan(asked)
    APPROVALS.unlink()
    assert refused(asked)[0] == "APPR-010", "taking the block out needs them too"
    assert refused(asked, "dev", "--yes")[0] == "APPR-009"
