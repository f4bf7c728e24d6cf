"""Policies over how releases get to production: steps, gates, bakes, judges. Pure; listed in `policies.catalog`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from environments.gates import GATES, asks
from policies.policy import Hit, OnPlan, PlanContext, Policy, levels
from reconciler.core.plan.change import Action

FIRST_STEP_MAX_PCT = 10.0
BAKE_MIN_S = 300.0
KEEP_WARM_MIN_S = 900.0
ERROR_CHANCE_MAX = 0.05
CHANGED_MAX_PCT = 50.0
_GATES = tuple(kind.name for kind in GATES)


def first_step(context: PlanContext) -> Iterator[Hit]:
    """Find canaries whose first step is more than a tenth of the traffic, and strategies without steps."""
    for address, endpoint in context.each():
        first = endpoint.rollout.steps_pct[0]
        if endpoint.rollout.strategy == "canary" and first > FIRST_STEP_MAX_PCT:
            yield address, f"the first step gives the challenger {first:g} % of the traffic, more than 10 %"
        if endpoint.rollout.strategy == "blue_green":
            yield address, "blue_green moves all traffic at once, before the judge has seen any"


def replicas(context: PlanContext) -> Iterator[Hit]:
    """Find endpoints that one machine's failure takes down."""
    for address, endpoint in context.each():
        if endpoint.replicas.min < 2:
            yield address, f"replicas.min is {endpoint.replicas.min}: one machine's failure is an outage"


def gates(context: PlanContext) -> Iterator[Hit]:
    """Find releases that nothing asks anything before users see them, where a gate of this build could ask."""
    for address, endpoint in context.each():
        askable = any(asks(kind, endpoint.runtime) for kind in GATES)
        if askable and not endpoint.rollout.gates.declared():
            yield address, f"no gate ({' or '.join(_GATES)}) stands before the first percent of traffic"


def one_gate(gate: str, context: PlanContext) -> Iterator[Hit]:
    """Find releases that one gate does not ask, where it could."""
    kind = next(kind for kind in GATES if kind.name == gate)
    for address, endpoint in context.each():
        if asks(kind, endpoint.runtime) and gate not in endpoint.rollout.gates.declared():
            yield address, f"rollout.gates has no {gate}: {_UNASKED[gate]}"


_UNASKED = {
    "eval": "nobody asks the release anything that has a right answer before users do",
    "load": "nobody knows what it carries before users find out",
}


def keeps_warm(context: PlanContext) -> Iterator[Hit]:
    """Find rollouts after which the way back is soon a cold load."""
    for address, endpoint in context.each():
        kept_s = endpoint.rollout.keep_warm_s
        if kept_s < KEEP_WARM_MIN_S:
            yield (
                address,
                f"keep_warm_s is {kept_s:g}; what is noticed {KEEP_WARM_MIN_S:g} s later is a cold load to undo",
            )


def bake(context: PlanContext) -> Iterator[Hit]:
    """Find bakes that end before a slow failure shows."""
    for address, endpoint in context.each():
        if endpoint.rollout.bake_s < BAKE_MIN_S:
            yield address, f"bake_s is {endpoint.rollout.bake_s:g}; a leak or a full cache needs {BAKE_MIN_S:g} to show"


def judge(context: PlanContext) -> Iterator[Hit]:
    """Find judges that are wrong too often."""
    for address, endpoint in context.each():
        for name, value in (("alpha", endpoint.rollout.judge.alpha), ("beta", endpoint.rollout.judge.beta)):
            if value > ERROR_CHANCE_MAX:
                yield address, f"judge.{name} is {value:g}: the judge may be wrong more than once in twenty releases"


def protect(context: PlanContext) -> Iterator[Hit]:
    """Find rollouts that no regression would stop."""
    for address, endpoint in context.each():
        protected = {row.metric for row in endpoint.rollout.judge.protect}
        if "error_rate" not in protected:
            yield address, "judge.protect has no row for error_rate: a release that fails requests would be promoted"


def inconclusive(context: PlanContext) -> Iterator[Hit]:
    """Find rollouts that take missing evidence for good news."""
    for address, endpoint in context.each():
        if endpoint.rollout.on_inconclusive == "promote":
            yield address, "on_inconclusive is promote: a release without traffic becomes champion unseen"


def slo(context: PlanContext) -> Iterator[Hit]:
    """Find endpoints that promise nothing."""
    for address, endpoint in context.each():
        if endpoint.slo.error_rate is None and endpoint.slo.ttft_p95_ms is None:
            yield address, "the endpoint has no SLO: neither alerts nor the load gate know what is good enough"


def removal(context: PlanContext) -> Iterator[Hit]:
    """Find endpoints that a plan takes away."""
    for change in context.changes:
        if change.action is Action.REMOVE:
            yield str(change.address), "the plan removes this endpoint: its clients get 404 from then on"


def blast_radius(context: PlanContext) -> Iterator[Hit]:
    """Find plans that change most of an environment at once."""
    moving = [c for c in context.changes if c.action in (Action.ROLLOUT, Action.REMOVE)]
    total = len([c for c in context.changes if c.action is not Action.CREATE])
    override = context.set_here("PLN-002")
    limit_pct = (override.max_changed_pct if override else None) or CHANGED_MAX_PCT
    if len(moving) > 2 and 100 * len(moving) > total * limit_pct:
        share = f"{100 * len(moving) / total:.0f} %, limit {limit_pct:g} %"
        yield context.spec.environment, f"{len(moving)} of {total} endpoints change at once ({share})"


POLICIES = (
    Policy(
        "ROL-001", "The first canary step is at most 10 %", "the first step is the price of a bad release, in users",
        "begin rollout.steps_pct with 10 or less", OnPlan(first_step),
        levels(dev="off", staging="info", prod="deny"), "rollout.steps_pct",
    ),
    Policy(
        "ROL-002", "At least two replicas", "a node is drained or dies every week",
        "raise replicas.min to 2", OnPlan(replicas),
        levels(dev="off", staging="off", prod="deny"), "replicas.min",
    ),
    Policy(
        "ROL-003", "A gate stands before traffic", "users should not be the first to try a release",
        f"add {' or '.join(f'rollout.gates.{name}' for name in _GATES)}", OnPlan(gates),
        levels(dev="off", staging="info", prod="deny"), "rollout.gates",
    ),
    Policy(
        "ROL-004", "The bake is long enough", "leaks, full caches and slow clients need minutes to show",
        "raise rollout.bake_s to 300 or more", OnPlan(bake),
        levels(dev="off", staging="warn", prod="deny"), "rollout.bake_s",
    ),
    Policy(
        "ROL-005", "The judge is rarely wrong", "a judge that cries wolf is switched off within a month",
        "lower judge.alpha and judge.beta to 0.05 or less", OnPlan(judge),
        levels(dev="info", staging="warn", prod="deny"), "rollout.judge",
    ),
    Policy(
        "ROL-006", "Missing evidence promotes nothing", "no data is not good data",
        "set rollout.on_inconclusive to pause or roll_back", OnPlan(inconclusive),
        levels(dev="off", staging="warn", prod="deny"), "rollout.on_inconclusive",
    ),
    Policy(
        "ROL-007", "Errors are protected", "the first thing that users notice is a request that fails",
        "add {metric: error_rate, ratio: 2.0} to judge.protect", OnPlan(protect),
        levels(dev="info", staging="warn", prod="deny"), "rollout.judge.protect",
    ),
    Policy(
        "ROL-008", "An eval gate stands before traffic", "a model that is fast and wrong passes every other gate",
        "add rollout.gates.eval with a suite; docs/eval.md", OnPlan(partial(one_gate, "eval")),
        levels(dev="off", staging="warn", prod="deny"), "rollout.gates",
    ),
    Policy(
        "ROL-009", "A load gate stands before traffic", "a canary of 1 % says little about 100 %",
        "add rollout.gates.load with a profile; docs/load.md", OnPlan(partial(one_gate, "load")),
        levels(dev="off", staging="info", prod="warn"), "rollout.gates",
    ),
    Policy(
        "ROL-010", "The old slot stays warm for a while", "most mistakes are noticed after the bake",
        "raise rollout.keep_warm_s to 900 or more", OnPlan(keeps_warm),
        levels(dev="off", staging="info", prod="warn"), "rollout.keep_warm_s",
    ),
    Policy(
        "SLO-001", "Every endpoint has an SLO", "alerts and the load gate are measured against it",
        "add slo.error_rate, and slo.ttft_p95_ms where answers are streamed", OnPlan(slo),
        levels(dev="info", staging="warn", prod="deny"), "slo",
    ),
    Policy(
        "PLN-001", "Removing an endpoint is deliberate", "an endpoint that vanishes takes its clients along",
        "put it back, or set PLN-001: warn in the same pull request and say why", OnPlan(removal),
        levels(dev="info", staging="warn", prod="deny"),
    ),
    Policy(
        "PLN-002", "A plan changes a part, not everything", "one wrong line should not reach every endpoint at once",
        "split the pull request, or set PLN-002: info with a reason", OnPlan(blast_radius),
        levels(dev="off", staging="info", prod="warn"), reads=("max_changed_pct",),
    ),
)  # fmt: skip
