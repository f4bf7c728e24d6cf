"""Policies over where a release served before, who approved it, and what a rollback would return to. Pure.

Listed in `policies.catalog`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from environments.spec import EndpointSpec
from policies.facts import Approval, Promotion
from policies.policy import Hit, NotKnown, OnPlan, PlanContext, Policy, levels
from reconciler.core.plan.change import Action

SERVED_MIN_H = 24.0
EVIDENCE_MAX_H = 14 * 24.0
APPROVALS_MIN = 1
PASS = "PASS"


def served_first(context: PlanContext) -> Iterator[Hit]:
    """Find releases that have not served in the environment before this one: promoted there, by its gates, for long."""
    override = context.set_here("PRO-001")
    hours = override.min_age_h if override and override.min_age_h is not None else SERVED_MIN_H
    for address, endpoint, before, found in _before(context, "PRO-001"):
        if isinstance(found, NotKnown):
            yield address, found
        elif found is None:
            yield address, f"{_id(context, address)} has not been promoted in {before}"
        elif found.undone:
            yield address, f"{found.release} was rolled back in {before}"
        else:
            yield from ((address, message) for message in _not_well_served(context, endpoint, before, found, hours))


def _not_well_served(
    context: PlanContext, endpoint: EndpointSpec, before: str, found: Promotion, hours: float
) -> Iterator[str]:
    left = found.until or context.now
    if left and left - found.at < timedelta(hours=hours):
        until = f" until {found.until:%Y-%m-%dT%H:%MZ}" if found.until else ""
        served = f"since {found.at:%Y-%m-%dT%H:%MZ}{until}"
        yield f"{found.release} serves in {before} {served}, and has to for {hours:g} h"
    if found.hand:
        yield f"{found.release} was promoted in {before} by hand, past gates and judge"
    for gate in endpoint.rollout.gates.declared():
        verdict = found.gates.get(gate)
        if verdict != PASS:
            said = f"said {verdict} of" if verdict else "was not asked about"
            yield f"the {gate} gate {said} {found.release} in {before}"


def fresh_evidence(context: PlanContext) -> Iterator[Hit]:
    """Find releases whose gates passed so long ago that suites and traffic are others now."""
    override = context.set_here("PRO-002")
    hours = (override.max_age_h if override else None) or EVIDENCE_MAX_H
    for address, _, before, found in _before(context, "PRO-002"):
        if isinstance(found, NotKnown):
            yield address, found
        elif found is None:
            yield address, f"no gate has passed {_id(context, address)} in {before}"
        elif context.now and context.now - found.at > timedelta(hours=hours):
            yield address, f"what gates found in {before} is of {found.at:%Y-%m-%dT%H:%MZ}, more than {hours:g} h ago"


def _before(
    context: PlanContext, policy_id: str
) -> Iterator[tuple[str, EndpointSpec, str, Promotion | NotKnown | None]]:
    """Yield every endpoint that gets a release, with the environment before this one and what happened to it there."""
    before = _environment_before(context, policy_id)
    for address, endpoint in context.moving():
        yield address, endpoint, before or "", _promotion(context, address, before)


def _environment_before(context: PlanContext, policy_id: str) -> str | None:
    overrides = (context.set_here(id) for id in (policy_id, "PRO-001"))
    return next((o.environment for o in overrides if o and o.environment), None)


def _promotion(context: PlanContext, address: str, before: str | None) -> Promotion | NotKnown | None:
    facts, name = context.known(), address.rpartition("/")[2]
    if before is None:
        return NotKnown("where this release served first", "policies.PRO-001 names no `environment:`")
    promotions = facts.promotions.get(before, "nobody read it")
    if isinstance(promotions, str):
        return NotKnown(f"whether this release served in {before}", promotions)
    if name not in facts.releases:
        return NotKnown("which release this is", "its references could not be resolved")
    mine = [p for p in promotions if p.endpoint == name and p.release == facts.releases[name].id]
    return max(mine, key=lambda p: p.at, default=None)


def _id(context: PlanContext, address: str) -> str:
    return context.known().releases[address.rpartition("/")[2]].id


def approved(context: PlanContext) -> Iterator[Hit]:
    """Find plans that too few people but their author have approved; silent until somebody wants to apply one."""
    if context.stage != "apply":
        return
    override, facts = context.set_here("PRO-003"), context.known()
    needed = (override.approvals if override else None) or APPROVALS_MIN
    people = _others(facts.approvals or [], facts.author)
    if len(people) < needed:
        by = f" ({', '.join(people)})" if people else ""
        yield "", f"{len(people)} of {needed} approvals by others than the author{by}"
    elif facts.author is None:
        yield "", NotKnown("whether the author is among those who approved", "nobody says who the author is")


def _others(approvals: list[Approval], author: str | None) -> list[str]:
    """Return who approved, without the author; a key counts once, and so does a name."""
    by_key = {approval.key: approval.name for approval in approvals}
    return sorted(set(by_key.values()) - {author})


def way_back(context: PlanContext) -> Iterator[Hit]:
    """Find rollouts whose champion could not take its traffic back at once."""
    champions = context.known().champions
    for change in context.changes:
        if change.action is not Action.ROLLOUT:
            continue
        address = str(change.address)
        champion = champions.get(address, "nobody read what serves there")
        if isinstance(champion, str):
            yield address, NotKnown("whether there is a way back", champion)
        elif not champion.ready:
            yield address, f"{champion.release} in slot {champion.slot} does not answer: there is nothing to go back to"
        elif not champion.warm:
            yield address, f"{champion.release} in slot {champion.slot} is not warm: going back would be slow at first"


POLICIES = (
    Policy(
        "PRO-001", "A release has served elsewhere first", "what breaks should break where nobody is hurt",
        "apply it in that environment and wait, or name the environment: PRO-001: {level: …, environment: staging}",
        OnPlan(served_first, needs=True),
        levels(dev="off", staging="off", prod="warn"), "release", ("environment", "min_age_h"),
    ),
    Policy(
        "PRO-002", "What gates found is fresh", "suites, prompts and traffic have moved on since",
        "apply it there again, so that its gates are asked anew", OnPlan(fresh_evidence, needs=True),
        levels(dev="off", staging="off", prod="warn"), "release", ("environment", "max_age_h"),
    ),
    Policy(
        "PRO-003", "Somebody else has approved", "whoever wrote a change is the last to see its mistake",
        "have the plan that was saved approved by somebody else, and apply that file", OnPlan(approved, needs=True),
        levels(dev="off", staging="off", prod="warn"), reads=("approvals",),
    ),
    Policy(
        "PRO-004", "There is a way back", "a rollback is a weight only while the champion answers and is warm",
        "repair what serves first: `sluice apply` with the release as it is", OnPlan(way_back, needs=True),
        levels(dev="off", staging="warn", prod="deny"), unknown="info",
    ),
)  # fmt: skip
