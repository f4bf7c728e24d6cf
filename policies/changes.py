"""Policies over when and together with what a release may move: freezes, loosened guards, break-glass. Pure.

Listed in `policies.catalog`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from environments.policies import LEVELS_RISING, FreezeSpec, Level
from environments.spec import EnvironmentSpec
from policies.facts import Guard, ProtectFacts
from policies.policy import Hit, NotKnown, OnPlan, PlanContext, Policy, levels
from reconciler.core.plan.change import Change

GLASS_MAX_H = 72.0
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LIMITS = ("max_drop", "max_regression")


def loosened(context: PlanContext) -> Iterator[Hit]:
    """Find releases that come together with a weaker guard: a row, a gate or a policy's level."""
    guards = context.known().guards
    for address, _ in context.moving():
        before = guards.get(address.rpartition("/")[2], "nobody read what guarded it before")
        if isinstance(before, str):
            yield address, NotKnown("whether its guard is weaker than before", before)
        elif before is not None:
            now = guard_of(context.spec, address.rpartition("/")[2], context.levels)
            for what in _weaker(before, now):
                yield address, f"{what}, in the same change as a release"


def guard_of(spec: EnvironmentSpec, endpoint: str, in_force: Mapping[str, Level]) -> Guard:
    """Return what guards an endpoint as a file declares it; `in_force` are the levels of policies by id."""
    rollout = spec.endpoints[endpoint].rollout
    rows = [{"metric": row.metric, "ratio": row.ratio, "share": row.share} for row in rollout.judge.protect]
    gates = {
        gate: {key: float(value) for key, value in settings.items() if key in _LIMITS}
        for gate, settings in rollout.gates.model_dump(exclude_none=True).items()
    }
    return Guard.model_validate({"protect": rows, "gates": gates, "levels": dict(in_force)})


def _weaker(before: Guard, now: Guard) -> Iterator[str]:
    rows = {(row.metric, row.share): row for row in now.protect}
    for row in before.protect:
        kept = rows.get((row.metric, row.share))
        if kept is None:
            yield f"judge.protect has lost its row {_row(row)}"
        elif kept.ratio > row.ratio:
            yield f"judge.protect allows {kept.ratio:g} where it allowed {row.ratio:g} for {row.metric}"
    for gate, limits in sorted(before.gates.items()):
        if gate not in now.gates:
            yield f"the {gate} gate is gone"
        for key, limit in sorted(limits.items()):
            if now.gates.get(gate, {}).get(key, limit) > limit:
                yield f"gates.{gate}.{key} is {now.gates[gate][key]:g} and was {limit:g}"
    for policy, level in sorted(before.levels.items()):
        present = now.levels.get(policy, "off")
        if LEVELS_RISING.index(present) < LEVELS_RISING.index(level):
            yield f"policy {policy} is {present} and was {level}"


def _row(row: ProtectFacts) -> str:
    return f"{row.metric} over {row.ratio:g}" + (f" for a share of {row.share:g}" if row.share else "")


def frozen(context: PlanContext) -> Iterator[Hit]:
    """Find releases that would begin to move in a freeze; what is on its way may end."""
    override = context.set_here("PLN-004")
    beginning = {c.address.endpoint for c in context.changes if not _in_flight(c)}
    if context.now is None or override is None:
        return
    for address, _ in context.moving():
        name = address.rpartition("/")[2]
        for window in override.windows or []:
            if name in beginning and not _excepted(window, name, context.now):
                yield from ((address, message) for message in _held_by(window, context.now))


def _in_flight(change: Change) -> bool:
    return any(field.path == "rollout" and field.after == "promoted" for field in change.fields)


def _excepted(window: FreezeSpec, endpoint: str, now: datetime) -> bool:
    return any(each.endpoint == endpoint and now < each.until for each in window.exceptions)


def _held_by(window: FreezeSpec, now: datetime) -> Iterator[str]:
    try:
        zone = ZoneInfo(window.timezone)
    except (OSError, ValueError, LookupError):
        why = f"this machine has no time zone {window.timezone}"
        yield NotKnown(f"whether the freeze {window.name} holds", why)
        return
    why = f": {window.reason}" if window.reason else ""
    if window.begins and window.ends:
        if window.begins <= now < window.ends:
            yield f"no release moves in the freeze {window.name} until {window.ends:%Y-%m-%dT%H:%MZ}{why}"
    elif _weekly(window, now.astimezone(zone)):
        hours = f"{', '.join(window.days)} {window.start} to {window.end} {window.timezone}"
        yield f"no release moves in the freeze {window.name} ({hours}){why}"


def _weekly(window: FreezeSpec, local: datetime) -> bool:
    """Return whether a weekly freeze holds at a local time; one that ends before it starts ends on the next day."""
    clock, start, end = f"{local:%H:%M}", window.start, window.end
    today, yesterday = _DAYS[local.weekday()], _DAYS[local.weekday() - 1]
    if start < end:
        return today in window.days and start <= clock < end
    return (today in window.days and clock >= start) or (yesterday in window.days and clock < end)


def glass_is_short(context: PlanContext) -> Iterator[Hit]:
    """Find break-glass that would still be open when nobody remembers why."""
    glass = context.spec.break_glass
    if glass and context.now and glass.until - context.now > timedelta(hours=GLASS_MAX_H):
        yield "", f"break-glass of {glass.who} is open until {glass.until:%Y-%m-%dT%H:%MZ}: more than {GLASS_MAX_H:g} h"


POLICIES = (
    Policy(
        "PLN-003", "No guard is loosened together with a release", "the release that needs it is the one it is for",
        "loosen it in a pull request of its own, before the release", OnPlan(loosened, needs=True),
        levels(dev="off", staging="warn", prod="deny"), "rollout", unknown="warn",
    ),
    Policy(
        "PLN-004", "Nothing moves in a freeze", "who could repair it is asleep, away, or watching the sale",
        "wait until it ends, or add an exception with a reason and an end to windows of PLN-004", OnPlan(frozen),
        levels(dev="off", staging="deny", prod="deny"), "release", ("windows",),
    ),
    Policy(
        "PLN-005", "Break-glass closes again", "an emergency that lasts a month is a policy that nobody has agreed to",
        "set break_glass.until to three days from now at most", OnPlan(glass_is_short),
        levels(dev="warn", staging="warn", prod="deny"),
    ),
)  # fmt: skip
