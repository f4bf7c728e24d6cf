"""Who approved, and whether they are enough: each way of cheating has a code of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from environments.errors import SluiceError
from environments.signing import ApprovalsSpec, spki_of
from reconciler.core.attest.approvals import Rule, Subject, checked, count, rule_from_json, rule_of, rule_to_json
from reconciler.core.attest.dsse import Envelope, Signature
from reconciler.core.attest.statement import (
    Approval,
    SignedHead,
    approval_statement,
    head_statement,
    read_approval,
    read_head,
    unsigned,
)
from reconciler.ports import signed
from reconciler.signing.check import verify
from reconciler.signing.key_file import KeyFile
from tests.support.builders.signing import Person

PLAN = Subject("prod", "sha256:" + "a" * 64)
AT = "2026-11-30T10:00:00.000Z"


@pytest.fixture
def ann(tmp_path: Path) -> Person:
    return Person("ann", tmp_path)


@pytest.fixture
def bob(tmp_path: Path) -> Person:
    return Person("bob", tmp_path, kind="p256")


def rule(needed: int, *listed: dict[str, object]) -> Rule:
    found = rule_of(ApprovalsSpec.model_validate({"needed": needed, "keys": list(listed)}))
    assert found is not None
    return found


def by(person: Person, subject: Subject = PLAN, *, name: str | None = None, author: str | None = None) -> Envelope:
    approval = Approval(subject.environment, subject.digest, name or person.name, AT, author)
    return asyncio.run(signed(approval_statement(approval), KeyFile(person.path)))


def people(envelopes: Sequence[Envelope], wanted: Rule, subject: Subject = PLAN) -> tuple[str, ...]:
    return count(checked(envelopes, subject, [wanted], verify), subject, wanted)


def refusal(envelopes: Sequence[Envelope], wanted: Rule, subject: Subject = PLAN) -> SluiceError:
    with pytest.raises(SluiceError) as caught:
        people(envelopes, wanted, subject)
    assert caught.value.problem.do
    return caught.value


def test_the_statement_is_in_totos_and_names_the_plan_by_its_digest(ann: Person) -> None:
    envelope = by(ann, author="cy")
    assert envelope.payload_type == "application/vnd.in-toto+json"
    assert json.loads(envelope.payload) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "plan of prod", "digest": {"sha256": "a" * 64}}],
        "predicateType": "https://sluice.dev/approval/v1",
        "predicate": {"environment": "prod", "approver": "ann", "approved_at": AT, "author": "cy"},
    }
    assert envelope.payload == json.dumps(json.loads(envelope.payload), sort_keys=True, separators=(",", ":")).encode()
    assert [s.keyid for s in envelope.signatures] == [ann.keyid]


def test_two_people_with_keys_of_two_kinds_are_enough(ann: Person, bob: Person) -> None:
    wanted = rule(2, ann.listed(), bob.listed())
    assert people([by(bob), by(ann)], wanted) == ("ann", "bob")
    assert rule_from_json(json.loads(json.dumps(rule_to_json(wanted)))) == wanted


def test_too_few(ann: Person, bob: Person) -> None:
    wanted = rule(2, ann.listed(), bob.listed())
    error = refusal([by(ann)], wanted)
    assert (error.code, error.problem.what) == ("APPR-001", "1 of 2 approvals (ann)")
    assert "ann, bob" in error.problem.why
    assert refusal([], wanted).code == "APPR-001"


def test_an_unknown_key(ann: Person, bob: Person) -> None:
    error = refusal([by(ann), by(bob)], rule(1, ann.listed()))
    assert error.code == "APPR-002"
    assert bob.keyid[:16] in error.problem.what


def test_a_stripped_signature(ann: Person) -> None:
    wanted = rule(1, ann.listed())
    assert refusal([replace(by(ann), signatures=())], wanted).code == "APPR-003"
    assert refusal([by(ann), replace(by(ann), signatures=(Signature(ann.keyid, b""),))], wanted).code == "APPR-003"


def test_a_changed_approval(ann: Person) -> None:
    envelope = by(ann)
    for forged in (
        replace(envelope, payload=envelope.payload.replace(b"prod", b"play")),
        replace(envelope, payload=by(ann, replace(PLAN, digest="sha256:" + "b" * 64)).payload),
        replace(envelope, payload_type="application/json"),
    ):
        error = refusal([forged], rule(1, ann.listed()))
        assert (error.code, "ann" in error.problem.what) == ("APPR-004", True)


def test_an_approval_of_another_plan_or_environment(ann: Person) -> None:
    wanted = rule(1, ann.listed())
    for other in (replace(PLAN, digest="sha256:" + "b" * 64), replace(PLAN, environment="dev")):
        error = refusal([by(ann, other)], wanted)
        assert (error.code, other.digest in error.problem.what) == ("APPR-005", True)


def test_by_the_author(ann: Person, bob: Person) -> None:
    wanted = rule(2, ann.listed("ann-at-the-host"), bob.listed())
    for author in ("ann", "ANN-at-the-host"):
        error = refusal([by(ann), by(bob)], wanted, replace(PLAN, authors=(author,)))
        assert (error.code, error.problem.what.startswith("ann made")) == ("APPR-006", True)
    assert refusal([by(ann), by(bob, author="ann")], wanted).code == "APPR-006", "bob saw whose plan it is"
    assert people([by(ann), by(bob)], rule(1, ann.listed(), bob.listed()), replace(PLAN, authors=("ann",))) == ("bob",)


def test_the_same_person_twice(ann: Person, bob: Person, tmp_path: Path) -> None:
    phone = Person("ann", tmp_path / ".", kind="p256")
    wanted = rule(2, ann.listed(), phone.listed(), bob.listed())
    for twice in ([by(ann), by(ann)], [by(ann), by(phone)]):
        error = refusal(twice, wanted)
        assert (error.code, error.problem.what.startswith("ann approved more than once")) == ("APPR-007", True)
    assert people([by(ann), by(phone), by(bob)], wanted) == ("ann", "bob")


def test_the_author_is_known_by_every_key_of_theirs(ann: Person, bob: Person, tmp_path: Path) -> None:
    phone = Person("ann", tmp_path, kind="p256")
    wanted = rule(1, ann.listed(), phone.listed("annie"))
    assert refusal([by(ann)], wanted, replace(PLAN, authors=("annie",))).code == "APPR-006"


def test_in_anothers_name(ann: Person, bob: Person) -> None:
    error = refusal([by(ann, name="bob")], rule(1, ann.listed(), bob.listed()))
    assert (error.code, "ann's key" in error.problem.what) == ("APPR-004", True)


def test_a_signed_head_is_no_approval(ann: Person) -> None:
    head = SignedHead("prod", 7, "a" * 64, AT, "chat-1")
    envelope = asyncio.run(signed(head_statement(head), KeyFile(ann.path)))
    assert read_head(envelope) == head
    assert refusal([envelope], rule(1, ann.listed())).code == "APPR-008"
    with pytest.raises(ValueError, match="no statement of the kind"):
        read_head(by(ann))
    with pytest.raises(ValueError, match="not application/vnd"):
        read_approval(replace(unsigned({}), payload_type="x"))


def test_only_the_two_kinds_of_keys_are_taken(ann: Person) -> None:
    assert spki_of(ann.public_key) == spki_of("".join(ann.public_key.splitlines()[1:-1]))
    for wrong in ("", "ssh-ed25519 AAAA", ann.public_key[:-40], "MCowBQYDK2VwAyEA" + "A" * 40):
        with pytest.raises(ValueError, match="no Ed25519 or ECDSA P-256"):
            spki_of(wrong)
