"""Say what of a plan this build, or a region's platform, cannot do; nothing else is ever done in its place. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from environments.gates import GATES
from environments.spec import EndpointSpec, EnvironmentSpec
from reconciler.core.model.finding import Finding
from reconciler.core.plan.change import Action, Change
from reconciler.core.rollout.surge import SWAP, servers_for
from reconciler.ports import CountsTraffic, KeepsReplicas, Runtime
from reconciler.ports.adapters import RegionReader

STRATEGIES = ("canary", "blue_green")


def unbuildable(
    spec: EnvironmentSpec,
    changes: Sequence[Change],
    readers: Mapping[str, RegionReader],
    *,
    runtimes: Mapping[str, Runtime],
    gates: Collection[str],
) -> list[Finding]:
    """Return what is denied because nothing here does it, and what a platform does otherwise than declared."""
    found = []
    for change in changes:
        declared = spec.endpoints.get(change.address.endpoint)
        if declared is None or change.action is Action.NONE:
            continue
        region = readers.get(change.address.region)
        can = region.can if region else frozenset[type]()
        lacking = [*_lacking_build(declared, runtimes, gates), *_lacking_platform(declared, can)]
        where = str(change.address)
        found += [Finding("BUILD-001", "deny", where, f"this build has no adapter for: {what}") for what in lacking]
        told = [*_of_replicas(declared, can), *_of_runtime(declared, runtimes.get(declared.runtime))]
        found += [Finding(code, level, where, message) for code, level, message in told]
    return found


def _lacking_build(declared: EndpointSpec, runtimes: Collection[str], gates: Collection[str]) -> Iterator[str]:
    if declared.runtime not in runtimes:
        yield f"runtime {declared.runtime}"
    if declared.rollout.strategy not in STRATEGIES:
        yield f"strategy {declared.rollout.strategy}"
    asked = declared.rollout.gates.model_dump(exclude_none=True)
    yield from (f"{gate} gate" for gate in sorted(asked) if gate not in gates)


def _lacking_platform(declared: EndpointSpec, can: frozenset[type]) -> Iterator[str]:
    if declared.rollout.strategy == "canary" and CountsTraffic not in can:
        yield "strategy canary (the region's platform counts no traffic)"
    if declared.rollout.surge == SWAP and KeepsReplicas not in can:
        yield "surge swap (a slot keeps one server on the region's platform)"


def _of_runtime(declared: EndpointSpec, runtime: Runtime | None) -> Iterator[tuple[str, str, str]]:
    """Yield code, level and message of what a rollout asks for and the runtime's servers do not give."""
    if runtime is None:
        return
    offers, rollout = runtime.offers, declared.rollout
    for gate in (kind for kind in GATES if kind.name in rollout.gates.declared()):
        if gate.speaks not in ("", offers.protocol):
            yield (
                "BUILD-004",
                "deny",
                f"the {gate.name} gate speaks {gate.speaks} and servers of runtime {declared.runtime} speak"
                f" {offers.protocol}: leave the gate out, or use a runtime that it can ask",
            )
    if rollout.strategy != "canary":
        return
    protected = {row.metric for row in rollout.judge.protect} - {"error_rate"}
    for metric in sorted(protected - offers.latencies):
        perhaps = metric in offers.perhaps
        yield (
            "BUILD-005",
            "warn" if perhaps else "deny",
            f"the judge is to protect {metric}, which servers of runtime {declared.runtime}"
            f" {'tell of some models only' if perhaps else 'do not tell'}: without it no promotion is decided;"
            " name what is to be protected in rollout.judge.protect",
        )


def _of_replicas(declared: EndpointSpec, can: frozenset[type]) -> Iterator[tuple[str, str, str]]:
    """Yield code, level and message of what replicas and surge make of a rollout."""
    rollout, steady = declared.rollout, max(1, declared.replicas.min)
    if KeepsReplicas not in can:
        if declared.replicas.min > 1:
            yield (
                "BUILD-003",
                "warn",
                f"replicas.min is {declared.replicas.min}; a slot keeps one server on the region's platform",
            )
        return
    if rollout.surge != SWAP:
        return
    first = rollout.steps_pct[0] if rollout.strategy == "canary" else 100.0
    need = servers_for(first, steady)
    if need > rollout.surge_replicas:
        yield (
            "ROLL-012",
            "deny",
            f"the first share of {first:g} % needs {need} servers beside a whole champion, and surge_replicas is"
            f" {rollout.surge_replicas}: nothing would be proven when the champion gives up the first",
        )
    left = min(steady, rollout.surge_replicas)
    share, minutes = 100 * left / steady, rollout.start_timeout_s / 60
    if left < steady:
        yield (
            "ROLL-013",
            "info",
            f"with `swap`, {share:.0f} % of the traffic rolls back by weight from the last step; the rest waits for"
            f" {steady - left} servers to start, {minutes:.0f} min at most",
        )
