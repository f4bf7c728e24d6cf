"""What is signed: in-toto statements about a plan that was approved and about a ledger's head. Pure.

Source: in-toto attestation framework, spec/v1/statement.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from reconciler.core.attest.dsse import PAYLOAD_TYPE, Envelope, payload_of
from reconciler.core.canonical import Json

STATEMENT = "https://in-toto.io/Statement/v1"
APPROVAL = "https://sluice.dev/approval/v1"
LEDGER_HEAD = "https://sluice.dev/ledger-head/v1"


@dataclass(frozen=True)
class Approval:
    """Who approved which plan, and when (RFC 3339). `author` is who made the plan, as the approver saw it."""

    environment: str
    digest: str
    approver: str
    approved_at: str
    author: str | None = None


@dataclass(frozen=True)
class SignedHead:
    """The ledger's last entry at some time; `rollout` is the one that had just ended, None for an anchor."""

    environment: str
    seq: int
    hash: str
    at: str
    rollout: str | None = None


def approval_statement(approval: Approval) -> Json:
    """Return the statement of an approval."""
    told = {
        "environment": approval.environment,
        "approver": approval.approver,
        "approved_at": approval.approved_at,
        **({"author": approval.author} if approval.author else {}),
    }
    return _statement(f"plan of {approval.environment}", approval.digest.removeprefix("sha256:"), APPROVAL, told)


def head_statement(head: SignedHead) -> Json:
    """Return the statement of a ledger's head."""
    told = {"environment": head.environment, "seq": head.seq, "at": head.at, "rollout": head.rollout}
    return _statement(f"ledger of {head.environment}", head.hash, LEDGER_HEAD, told)


def unsigned(statement: Json) -> Envelope:
    """Return a statement in an envelope that nobody has signed yet."""
    return Envelope(PAYLOAD_TYPE, payload_of(statement), ())


def read_approval(envelope: Envelope) -> Approval:
    """Return what an envelope approves; call it after its signatures were checked.

    Raises:
        ValueError: it is another kind of statement.
    """
    digest, told = _read(envelope, APPROVAL)
    match told:
        case {"environment": str(environment), "approver": str(approver), "approved_at": str(at)}:
            author = told.get("author")
            return Approval(environment, f"sha256:{digest}", approver, at, author if isinstance(author, str) else None)
        case _:
            raise ValueError("it does not say who approved, when and for which environment")


def read_head(envelope: Envelope) -> SignedHead:
    """Return the ledger's head that an envelope tells of; call it after its signatures were checked.

    Raises:
        ValueError: it is another kind of statement.
    """
    digest, told = _read(envelope, LEDGER_HEAD)
    match told:
        case {"environment": str(environment), "seq": int(seq), "at": str(at)}:
            rollout = told.get("rollout")
            return SignedHead(environment, seq, digest, at, rollout if isinstance(rollout, str) else None)
        case _:
            raise ValueError("it does not say which entry of which ledger was last")


def _statement(name: str, sha256: str, kind: str, told: Json) -> Json:
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": sha256}}],
        "predicateType": kind,
        "predicate": told,
    }


def _read(envelope: Envelope, kind: str) -> tuple[str, Any]:
    """Return the subject's digest and the predicate of a statement of this kind."""
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ValueError(f"its type is {envelope.payload_type[:80]}, not {PAYLOAD_TYPE}")
    try:
        data = json.loads(envelope.payload)
    except ValueError as error:
        raise ValueError("its payload is not JSON") from error
    match data:
        case {
            "_type": type_,
            "subject": [{"digest": {"sha256": str(digest)}}],
            "predicateType": found,
            "predicate": dict(told),
        } if (type_, found) == (STATEMENT, kind):
            return digest, told
        case _:
            raise ValueError(f"it is no statement of the kind {kind}")
