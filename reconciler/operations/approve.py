"""Approve a saved plan, and see before it is carried out that enough people did. Each approval ends in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from environments.errors import SluiceError
from environments.names import Address
from environments.signing import keyid_of
from reconciler.core.attest.approvals import (
    Accepted,
    Fitting,
    Rule,
    Subject,
    checked,
    count,
    fitting,
    rule_to_json,
)
from reconciler.core.attest.dsse import Envelope, Verify, envelope_to_json
from reconciler.core.attest.statement import Approval, approval_statement
from reconciler.core.events import PlanApproved
from reconciler.core.plan.plan import Plan
from reconciler.core.times import timestamp
from reconciler.engine.owner import operator_name
from reconciler.planning.approvers import on_record
from reconciler.planning.planner import active_rollouts
from reconciler.ports import Signer, Store, entry_of, signed


@dataclass(frozen=True)
class Granted:
    """Who approved a plan, and the rule by which they are enough; `rule` is None where none is declared any more.

    `accepted` are the approvals whose signatures were checked, by the author and by the same person twice, too.
    """

    subject: Subject
    people: tuple[str, ...]
    accepted: tuple[Accepted, ...]
    envelopes: tuple[Envelope, ...]
    rule: Rule | None


async def approve(
    subject: Subject, rule: Rule | None, present: Sequence[Envelope], signer: Signer, *, now: float, verify: Verify
) -> tuple[tuple[Envelope, ...], Approval]:
    """Return the file's envelopes with one more, and what it says; `present` are those that are there already.

    Raises:
        SluiceError: `APPR-002` the key may not approve, `APPR-006` its person made the plan, `APPR-007` approved it
            already; `APPR-003` to `APPR-008` of what is there; those of the signer.
    """
    name = _approver(subject, rule, keyid_of(await signer.public_key()))
    earlier = checked(present, subject, (rule,), verify) if rule else []
    if rule:
        _refuse_again(subject, rule, name, earlier)
    approval = Approval(
        subject.environment, subject.digest, name, timestamp(now), subject.authors[0] if subject.authors else None
    )
    return (*present, await signed(approval_statement(approval), signer)), approval


async def take_over(
    store: Store,
    subject: Subject,
    declared: Rule | None,
    envelopes: Iterable[Envelope],
    *,
    now: float,
    verify: Verify,
) -> Fitting | None:
    """Return which statements, from where anybody can write, approve this plan; None where nobody is asked.

    Signatures by those of the file and by those of the last apply are taken; whether they are enough asks `granted`.
    """
    rules = [rule for rule in (declared, (await on_record(store, subject.environment)).in_force(now)) if rule]
    return fitting(envelopes, subject, rules, verify) if rules else None


async def granted(
    store: Store,
    plan: Plan,
    declared: Rule | None,
    present: Iterable[Envelope],
    authors: Iterable[str],
    *,
    now: float,
    verify: Verify,
) -> Granted | None:
    """Return the approvals of a plan; None when none are asked for. Call it before anything is carried out.

    Who may approve is asked of the file *and* of the ledger: a change that names other approvers has to be approved by
    those before it. What is in flight already goes on without: it was approved when it began.

    Raises:
        SluiceError: `APPR-001` to `APPR-008`, `APPR-010`.
    """
    recorded = (await on_record(store, plan.environment)).in_force(now)
    if (declared is None and recorded is None) or await _in_flight(store, plan):
        return None
    subject = Subject(plan.environment, plan.digest, tuple(authors))
    rules = [rule for rule in (declared, recorded) if rule is not None]
    envelopes = tuple(present)
    accepted = checked(envelopes, subject, rules, verify)
    people = _counted(accepted, subject, declared, recorded)
    return Granted(subject, people, tuple(accepted), envelopes, declared)


async def record(store: Store, plan: Plan, given: Granted, *, now: Callable[[], float]) -> None:
    """Write into the ledger who approved, for each endpoint that the plan changes, or once where it changes none."""
    kept = tuple(envelope_to_json(each) for each in given.envelopes)
    for name in sorted({change.address.endpoint for change in plan.pending}) or ["*"]:
        at = Address.everywhere(plan.environment, name)
        event = PlanApproved(at, given.subject.digest, given.people, kept, rule_to_json(given.rule))
        await store.append(entry_of(event, now=now(), actor=operator_name()))


def _approver(subject: Subject, rule: Rule | None, keyid: str) -> str:
    """Return the name under which a key approves: the environment file's, or the user's where it asks for nobody."""
    if rule is None:
        return operator_name()
    person = rule.person(keyid)
    if person is None:
        raise SluiceError(
            "APPR-002",
            where=subject.where,
            what=f"the key {keyid[:16]} may not approve",
            why="it is none of the environment's `approvals.keys`",
            do="sign with a key that is there, or add this one in a change of its own",
        )
    return person.names[0]


def _refuse_again(subject: Subject, rule: Rule, name: str, earlier: Sequence[Accepted]) -> None:
    """Refuse what `apply` would not count: an approval by the author, and a person's second one."""
    if any(rule.same(name, author) for author in subject.authors):
        raise SluiceError(
            "APPR-006",
            where=subject.where,
            what=f"{name} made this plan",
            why="nobody approves their own change",
            do="have somebody else approve it",
        )
    if any(rule.same(name, each.approval.approver) for each in earlier):
        raise SluiceError(
            "APPR-007",
            where=subject.where,
            what=f"{name} has approved this plan already",
            why="two keys of one person are one person",
            do="have somebody else approve it",
        )


def _counted(
    accepted: Sequence[Accepted], subject: Subject, declared: Rule | None, recorded: Rule | None
) -> tuple[str, ...]:
    people = count(accepted, subject, declared) if declared else ()
    if recorded is None or recorded == declared:
        return people
    try:
        before = count(accepted, subject, recorded)
    except SluiceError as error:
        raise SluiceError(
            "APPR-010",
            where=subject.where,
            what=f"this change names other approvers, and those before it did not agree: {error.problem.what}",
            why="otherwise a change could name its own author as the one who approves it",
            do="have it approved by the rule that the last apply went by (sluice history ENV); "
            "where their keys are lost: sluice lost-keys ENV --reason …",
        ) from error
    return tuple(sorted({*people, *before}))


async def _in_flight(store: Store, plan: Plan) -> bool:
    """Say whether all that is to be done has begun already and leads to what is declared."""
    active = await active_rollouts(store, plan.environment)
    begun = {(name, rollout.challenger.id) for name, rollout in active.items()}
    return not plan.building and all((change.address.endpoint, change.release) in begun for change in plan.pending)
