"""Whether a plan was approved by enough people who may, none of whom made it. Pure.

A file of approvals is refused for anything in it that is not right: what was tampered with is not counted around.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from environments.errors import SluiceError
from environments.signing import ApprovalsSpec, keyid_of, spki_of
from reconciler.core.attest.dsse import Envelope, Verify, signers
from reconciler.core.attest.statement import Approval, read_approval
from reconciler.core.canonical import Json


@dataclass(frozen=True)
class Approver:
    """A person who may approve; `names` are all that they are called, the first in the environment file."""

    names: tuple[str, ...]
    key: bytes

    @property
    def keyid(self) -> str:
        """Return the key's id."""
        return keyid_of(self.key)


@dataclass(frozen=True)
class Rule:
    """How many of which people have to approve."""

    needed: int
    approvers: tuple[Approver, ...]

    def person(self, keyid: str) -> Approver | None:
        """Return whose key this is, None when it may not approve."""
        return next((each for each in self.approvers if each.keyid == keyid), None)

    def same(self, name: str, other: str) -> bool:
        """Say whether two names are one person's, however they are written."""
        names = {name.casefold(), other.casefold()}
        return len(names) == 1 or any(names <= self._called(each) for each in self.approvers)

    def _called(self, person: Approver) -> set[str]:
        """Return every name of a person: those of all entries with the same first name."""
        mine = (each for each in self.approvers if each.names[0] == person.names[0])
        return {name.casefold() for each in mine for name in each.names}


@dataclass(frozen=True)
class Subject:
    """The plan that is to be approved. `authors` are those who are known to have made it."""

    environment: str
    digest: str
    authors: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """Return how messages name it."""
        return f"plan of {self.environment}"


@dataclass(frozen=True)
class Accepted:
    """An approval whose signature was checked, with the id of its key."""

    approval: Approval
    keyid: str


def rule_of(spec: ApprovalsSpec | None) -> Rule | None:
    """Return the rule that an environment file declares."""
    if spec is None:
        return None
    return Rule(spec.needed, tuple(Approver((k.name, *k.accounts), spki_of(k.public_key)) for k in spec.keys))


def checked(envelopes: Iterable[Envelope], subject: Subject, rules: Sequence[Rule], verify: Verify) -> list[Accepted]:
    """Return the approvals of a file, every signature checked with the keys of `rules`.

    Raises:
        SluiceError: `APPR-002` a key that may not approve, `APPR-003` a signature was stripped, `APPR-004` one does
            not fit what it stands under, `APPR-005` another plan is approved, `APPR-008` another statement.
    """
    known = {each.keyid: each for rule in rules for each in rule.approvers}
    return [found for envelope in envelopes for found in _checked(envelope, subject, known, verify)]


@dataclass(frozen=True)
class Fitting:
    """What of some statements is for a plan: those that count, and why the others were passed over."""

    envelopes: tuple[Envelope, ...]
    people: tuple[str, ...]
    passed_over: tuple[str, ...]


def fitting(envelopes: Iterable[Envelope], subject: Subject, rules: Sequence[Rule], verify: Verify) -> Fitting:
    """Return the statements that approve this plan, each once, out of a place where anybody can write.

    A file of approvals is refused for one wrong line, as somebody put it beside the plan. In comments a stranger could
    stop every plan that way, so what is wrong there is passed over: it never counts, and it is told.
    """
    kept: list[Envelope] = []
    people: list[str] = []
    over: list[str] = []
    for envelope in dict.fromkeys(envelopes):
        try:
            found = checked([envelope], subject, rules, verify)
        except SluiceError as error:
            over.append(f"{error.code}: {error.problem.what}")
            continue
        kept.append(envelope)
        people += [each.approval.approver for each in found]
    return Fitting(tuple(kept), tuple(people), tuple(over))


def count(accepted: Sequence[Accepted], subject: Subject, rule: Rule) -> tuple[str, ...]:
    """Return the people who approved and who are enough by `rule`, sorted.

    Raises:
        SluiceError: `APPR-001` they are too few, `APPR-006` without the author, `APPR-007` without a person's second.
    """
    mine = [each for each in accepted if rule.person(each.keyid)]
    authors = {*subject.authors, *(a for each in accepted if (a := each.approval.author))}
    names = [person.names[0] for each in mine if (person := rule.person(each.keyid))]
    own = sorted({name for name in names if any(rule.same(name, author) for author in authors)})
    people = sorted(set(names) - set(own))
    if len(people) >= rule.needed:
        return tuple(people)
    if len(people) + len(own) >= rule.needed:
        raise _by_author(subject, own[0], rule)
    if len(names) >= rule.needed:
        raise _twice(subject, next(n for n in names if names.count(n) > 1), rule)
    raise _too_few(subject, people, rule)


def rule_to_json(rule: Rule | None) -> Json | None:
    """Return a rule as the ledger keeps it."""
    if rule is None:
        return None
    return {
        "needed": rule.needed,
        "keys": [{"names": list(a.names), "spki": a.key.hex(), "keyid": a.keyid} for a in rule.approvers],
    }


def rule_from_json(data: Json | None) -> Rule | None:
    """Return the rule that `rule_to_json` wrote."""
    if data is None:
        return None
    return Rule(data["needed"], tuple(Approver(tuple(k["names"]), bytes.fromhex(k["spki"])) for k in data["keys"]))


def _checked(envelope: Envelope, subject: Subject, known: dict[str, Approver], verify: Verify) -> list[Accepted]:
    if not envelope.signatures or not all(s.sig for s in envelope.signatures):
        raise SluiceError(
            "APPR-003",
            where=subject.where,
            what="an approval has no signature",
            why="it was stripped, so nobody stands behind it",
            do="take the line out of the file of approvals, and have the plan approved again",
        )
    by = signers(envelope, {keyid: each.key for keyid, each in known.items()}, verify)
    for signature, keyid in zip(envelope.signatures, by, strict=True):
        if keyid is None:
            raise _unproved(subject, signature.keyid, known)
    try:
        approval = read_approval(envelope)
    except ValueError as error:
        raise not_approvals(subject.where, str(error)) from error
    if (approval.digest, approval.environment) != (subject.digest, subject.environment):
        raise _another(subject, approval)
    return [_named(subject, approval, known[keyid], keyid) for keyid in by if keyid]


def _named(subject: Subject, approval: Approval, person: Approver, keyid: str) -> Accepted:
    if approval.approver not in person.names:
        raise SluiceError(
            "APPR-004",
            where=subject.where,
            what=f"an approval says that it is {approval.approver}'s, and {person.names[0]}'s key signed it",
            why="nobody approves in another's name",
            do="take the line out of the file of approvals, and have the plan approved again",
        )
    return Accepted(approval, keyid)


def _unproved(subject: Subject, hint: str, known: dict[str, Approver]) -> SluiceError:
    if person := known.get(hint):
        return SluiceError(
            "APPR-004",
            where=subject.where,
            what=f"the signature of {person.names[0]} does not fit what stands above it",
            why="the approval was changed after it was signed",
            do="take the line out of the file of approvals, and have the plan approved again",
        )
    return SluiceError(
        "APPR-002",
        where=subject.where,
        what=f"an approval is signed with the key {hint[:16] or 'without an id'}, which may not approve",
        why="it is none of the environment's `approvals.keys`",
        do="have somebody approve whose key is there, or add the key in a change of its own",
    )


def _another(subject: Subject, approval: Approval) -> SluiceError:
    return SluiceError(
        "APPR-005",
        where=subject.where,
        what=f"{approval.approver} approved {approval.digest} of {approval.environment}; this plan is {subject.digest}",
        why="an approval is for one plan and for no other",
        do="delete the file of approvals, and have this plan approved",
    )


def _by_author(subject: Subject, name: str, rule: Rule) -> SluiceError:
    return SluiceError(
        "APPR-006",
        where=subject.where,
        what=f"{name} made this plan and approved it; without that it has fewer than {rule.needed}",
        why="nobody approves their own change",
        do="have somebody else approve it",
    )


def _twice(subject: Subject, name: str, rule: Rule) -> SluiceError:
    return SluiceError(
        "APPR-007",
        where=subject.where,
        what=f"{name} approved more than once; {rule.needed} different people are needed",
        why="two keys of one person are one person",
        do="have somebody else approve it",
    )


def _too_few(subject: Subject, people: Sequence[str], rule: Rule) -> SluiceError:
    who = f" ({', '.join(people)})" if people else ""
    may = ", ".join(sorted({a.names[0] for a in rule.approvers}))
    return SluiceError(
        "APPR-001",
        where=subject.where,
        what=f"{len(people)} of {rule.needed} approvals{who}",
        why=f"`approvals` of the environment asks for {rule.needed}; these may: {may}",
        do="sluice approve plan.json --key FILE, then sluice apply plan.json",
    )


def not_approvals(where: str, why: str) -> SluiceError:
    """Return the error that says that a file holds something else than approvals."""
    return SluiceError(
        "APPR-008",
        where=where,
        what="the file of approvals cannot be read",
        why=why,
        do="delete it, and have the plan approved again: sluice approve plan.json",
    )
