"""What it takes to go back from a plan, in words. Pure."""

from __future__ import annotations

from environments.spec import EnvironmentSpec
from reconciler.core.plan.change import Action
from reconciler.core.plan.plan import Plan


def ways_back(plan: Plan, spec: EnvironmentSpec) -> list[str]:
    """Return a line for each endpoint that the plan rolls out or removes: how one goes back, and until when."""
    actions: dict[str, set[Action]] = {}
    for change in plan.pending:
        actions.setdefault(change.address.endpoint, set()).add(change.action)
    found = [(name, _way_back(name, kinds, spec)) for name, kinds in sorted(actions.items())]
    return [f"`{name}`: {words}" for name, words in found if words]


def _way_back(name: str, kinds: set[Action], spec: EnvironmentSpec) -> str | None:
    if Action.ROLLOUT in kinds and name in spec.endpoints:
        return _by_weight(name, spec)
    if Action.CREATE in kinds:
        return "there is no release to go back to; until it is promoted nobody is served by it"
    if Action.REMOVE in kinds:
        return "declare it again: a cold load"
    return None


def _by_weight(name: str, spec: EnvironmentSpec) -> str:
    rollout = spec.endpoints[name].rollout
    command = f"`sluice rollback {spec.environment} --endpoint {name}`"
    until = f"for {_duration(rollout.keep_warm_s)} after promotion" if rollout.keep_warm_s else "until promotion"
    if rollout.surge == "swap":
        return f"{command} is a weight for what the champion still carries, and servers have to start for the rest"
    return f"{command} is a weight, not a start, {until}; after that it is a cold load"


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
