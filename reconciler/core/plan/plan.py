"""The plan: complete, frozen, sorted, with a digest, so that what was reviewed is what runs. Pure.

`reconciler.planning.planner` gathers the inputs; commands show a plan, save it, and hand it to the loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from environments.errors import SluiceError
from environments.names import Address, parse_address
from environments.prices import NO_PRICES, PriceBook
from environments.spec import EnvironmentSpec
from reconciler.core.canonical import Json, digest
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.model.finding import Finding
from reconciler.core.model.observed import ObservedState, endpoint_facts
from reconciler.core.model.release import release_to_json
from reconciler.core.model.rollout import Rollout
from reconciler.core.plan.capacity import PoolNeed, need_to_json, pool_needs
from reconciler.core.plan.change import Action, Change, FieldChange, MovesBy, change_to_json
from reconciler.core.plan.cost import cost_of, without_measurements
from reconciler.core.plan.diff import diff
from reconciler.core.plan.drift import Drift, drift_to_json
from reconciler.core.plan.infrastructure import StackPreview, preview_from_json
from reconciler.core.plan.measured import (
    MeasuredCapacity,
    Measurement,
    measured_capacity,
    measured_from_json,
    measured_to_json,
    rates_of,
)
from reconciler.core.plan.memory import LoggedCache, ReleaseMemory, memory_of, memory_to_json
from reconciler.core.plan.planned_steps import PlannedStep, planned_steps
from reconciler.core.plan.retire import KeptSlot
from reconciler.core.plan.surge_choice import surge_choices

SCHEMA = "sluice/plan/v1"


@dataclass(frozen=True)
class Scope:
    """What `--endpoint` and `--region` left; empty means everything."""

    endpoints: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    def leaves(self, address: Address) -> bool:
        """Say whether an address is in what was asked for."""
        here = not self.regions or address.region in self.regions
        return here and (not self.endpoints or address.endpoint in self.endpoints)


@dataclass(frozen=True)
class Review:
    """What a reviewer weighs: what the pools need, what it costs, and what endpoints carry, as it was measured.

    `memory` is each loaded release's, `surges` each rollout's on top of the pools. The digest leaves out `measured` and
    `memory`: measuring again, and what a server logs, changes nothing that is planned.
    """

    pools: tuple[Json, ...] = ()
    cost: Json = field(default_factory=dict)
    measured: tuple[MeasuredCapacity, ...] = ()
    memory: tuple[Json, ...] = ()
    surges: tuple[Json, ...] = ()

    @property
    def capacity(self) -> list[Json]:
        """Return the lines of the plan's `capacity`; what is in them tells their kinds apart."""
        return [*self.pools, *self.surges, *self.memory, *map(measured_to_json, self.measured)]


@dataclass(frozen=True)
class Basis:
    """What a plan was made from, so that a stale one can say what moved.

    `observed` holds the facts of every address, `releases` those that are declared; `spec_digest` covers the file as it
    was read, `gate_digests` (ENDPOINT/GATE) the files that its gates decide by.
    """

    observed_fingerprint: str
    spec_digest: str
    observed: tuple[Json, ...] = ()
    releases: tuple[Json, ...] = ()
    gate_digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What will be done and why. `gaps` says in words what this build has no adapter for.

    `compared_with` names what was compared with instead of what is live; such a plan is read and never applied.
    `infrastructure` holds the previews of Pulumi's projects, None where nobody asked for them.
    `author` is who made it, where that is known; the digest leaves it out.
    """

    environment: str
    created_at: str
    scope: Scope
    changes: tuple[Change, ...]
    steps: tuple[PlannedStep, ...]
    findings: tuple[Finding, ...]
    review: Review
    basis: Basis
    drift: tuple[Drift, ...] = ()
    gaps: tuple[str, ...] = ()
    compared_with: str | None = None
    infrastructure: tuple[StackPreview, ...] | None = None
    author: str | None = None

    @property
    def pending(self) -> tuple[Change, ...]:
        """Return the changes that need something done."""
        return tuple(c for c in self.changes if c.action is not Action.NONE)

    @property
    def building(self) -> tuple[StackPreview, ...]:
        """Return the projects of infrastructure that are to be brought up."""
        return tuple(p for p in self.infrastructure or () if p.changes or p.unknown is not None)

    @property
    def denied(self) -> tuple[Finding, ...]:
        """Return the findings that forbid this plan."""
        return tuple(f for f in self.findings if f.level == "deny")

    @property
    def digest(self) -> str:
        """Return the digest over all but `created_at`, author and what servers said: the same world gives the same."""
        firm = replace(self.review, measured=(), memory=(), cost=without_measurements(self.review.cost))
        body = plan_body(replace(self, review=firm, author=None))
        del body["created_at"]
        return digest(body)


@dataclass(frozen=True)
class World:
    """What a plan is made from: declared, live, in flight, and what was measured before.

    `wanted` is the release id of each declared endpoint, also where `scope` leaves none of its regions. `kept` are the
    slots that a promotion left warm, `retiring` those of them whose time is over. `logged` is what servers said of
    their caches.
    """

    spec: EnvironmentSpec
    desired: DesiredState
    observed: ObservedState
    active: Mapping[str, Rollout]
    drift: tuple[Drift, ...] = ()
    gaps: tuple[str, ...] = ()
    scope: Scope = Scope()
    measured: Mapping[Address, Measurement] = field(default_factory=dict)
    wanted: Mapping[str, str] = field(default_factory=dict)
    gate_digests: Mapping[str, str] = field(default_factory=dict)
    retiring: Mapping[Address, KeptSlot] = field(default_factory=dict)
    kept: tuple[KeptSlot, ...] = ()
    logged: Mapping[Address, LoggedCache] = field(default_factory=dict)
    prices: PriceBook = NO_PRICES

    def memory(self, changes: Sequence[Change]) -> tuple[ReleaseMemory, ...]:
        """Return the GPU memory of what these changes load."""
        return memory_of(self.spec, self.desired, changes, self.logged)


def with_infrastructure(plan: Plan, previews: Sequence[StackPreview]) -> Plan:
    """Return a plan with what its environment's infrastructure would become, and what policies say of that."""
    findings = {*plan.findings, *(finding for preview in previews for finding in preview.findings)}
    return replace(plan, infrastructure=tuple(previews), findings=tuple(sorted(findings)))


def changes_of(world: World) -> tuple[Change, ...]:
    """Return the changes, with `new_nodes` where a load does not fit on the nodes that a pool keeps running."""
    changes = diff(world.desired, world.observed, world.active, world.retiring)
    needs = {(n.region, n.pool): n for n in pool_needs(world.spec, world.desired, changes, world.kept)}
    by_address = {d.address: d for d in world.desired.endpoints}
    return tuple(_with_nodes(change, by_address.get(change.address), needs) for change in changes)


def make_plan(world: World, changes: tuple[Change, ...], findings: Sequence[Finding], created_at: str) -> Plan:
    """Return the plan for `changes` of `world`; `findings` are what the policies said of them."""
    needs = pool_needs(world.spec, world.desired, changes, world.kept)
    releases = {d.release.id: release_to_json(d.release) for d in world.desired.endpoints}
    measured = measured_capacity(world.spec, world.desired, world.measured)
    return Plan(
        environment=world.spec.environment,
        created_at=created_at,
        scope=world.scope,
        changes=changes,
        steps=tuple(planned_steps(world, changes)),
        findings=tuple(sorted(findings)),
        review=Review(
            pools=tuple(need_to_json(n) for n in needs),
            cost=cost_of(world.spec, needs, world.prices, world.desired, changes, rates_of(measured)),
            measured=measured,
            memory=tuple(memory_to_json(each) for each in world.memory(changes)),
            surges=surge_choices(world.spec, world.desired, changes),
        ),
        basis=Basis(
            observed_fingerprint=world.observed.fingerprint(),
            spec_digest=spec_digest(world.spec),
            observed=tuple(endpoint_facts(world.observed.endpoints[a]) for a in sorted(world.observed.endpoints)),
            releases=tuple(releases[key] for key in sorted(releases)),
            gate_digests=dict(world.gate_digests),
        ),
        drift=tuple(sorted(world.drift)),
        gaps=tuple(sorted(world.gaps)),
    )


def spec_digest(spec: EnvironmentSpec) -> str:
    """Return the digest of an environment file's content; which user of the store asks is left out.

    The job that plans may read and the one that applies may write: they sign in to the same store as different users.
    """
    content = spec.model_dump(mode="json")
    scheme, _, rest = spec.store.partition("://")
    authority, slash, path = rest.partition("/")
    content["store"] = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    return digest(content)


def plan_body(plan: Plan) -> Json:
    """Return the plan's JSON without its digest."""
    return {
        "schema": SCHEMA,
        "environment": plan.environment,
        "created_at": plan.created_at,
        "observed_fingerprint": plan.basis.observed_fingerprint,
        "spec_digest": plan.basis.spec_digest,
        "gate_digests": dict(plan.basis.gate_digests),
        "scope": {"endpoints": list(plan.scope.endpoints), "regions": list(plan.scope.regions)},
        "changes": [change_to_json(c) for c in plan.changes],
        "steps": [s.to_json() for s in plan.steps],
        "findings": [f.to_json() for f in plan.findings],
        "capacity": plan.review.capacity,
        "cost": plan.review.cost,
        "drift": [drift_to_json(d) for d in plan.drift],
        "observed": list(plan.basis.observed),
        "releases": list(plan.basis.releases),
        "gaps": list(plan.gaps),
        **({} if plan.compared_with is None else {"compared_with": plan.compared_with}),
        **({} if plan.infrastructure is None else {"infrastructure": [p.to_json() for p in plan.infrastructure]}),
        **({} if plan.author is None else {"author": plan.author}),
    }


def plan_to_json(plan: Plan) -> Json:
    """Return the plan as `plan --json` prints it and `-o` saves it; one that read no live state has no digest."""
    return {**plan_body(plan), "digest": None if plan.compared_with else plan.digest}


def plan_from_json(data: Any) -> Plan:
    """Return the plan that `plan_to_json` wrote.

    Raises:
        SluiceError: `PLAN-001` it is no plan, or not one of this version; `PLAN-002` it was changed after it was made;
            `PLAN-007` it read no live state.
    """
    if isinstance(data, dict) and data.get("compared_with"):
        raise SluiceError(
            "PLAN-007",
            where=f"plan of {data.get('environment')}",
            what=f"this plan was compared with {data['compared_with']}; nobody read what is live",
            why="it is for reviewers and has no digest",
            do="make one of what is live: sluice plan ENV -o plan.json",
        )
    try:
        plan = _read(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_a_plan(f"it cannot be read as {SCHEMA}: {type(error).__name__} {error}") from error
    if plan_to_json(plan) != data:
        raise SluiceError(
            "PLAN-002",
            where=f"plan of {plan.environment}",
            what=f"its content hashes to {plan.digest}, it says {data.get('digest')}",
            why="a plan is approved by its digest, so a changed plan was approved by nobody",
            do="make a new one: sluice plan -o plan.json",
        )
    return plan


def _read(data: Any) -> Plan:
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError(f"schema is {data.get('schema') if isinstance(data, dict) else type(data).__name__}")
    return Plan(
        environment=data["environment"],
        created_at=data["created_at"],
        scope=Scope(tuple(data["scope"]["endpoints"]), tuple(data["scope"]["regions"])),
        changes=tuple(_change_from_json(c) for c in data["changes"]),
        steps=tuple(PlannedStep(**s) for s in data["steps"]),
        findings=tuple(Finding(**f) for f in data["findings"]),
        review=_review(data["capacity"], data["cost"]),
        basis=Basis(
            observed_fingerprint=data["observed_fingerprint"],
            spec_digest=data["spec_digest"],
            observed=tuple(data["observed"]),
            releases=tuple(data["releases"]),
            gate_digests=dict(data["gate_digests"]),
        ),
        drift=tuple(Drift(**d) for d in data["drift"]),
        gaps=tuple(data["gaps"]),
        infrastructure=tuple(map(preview_from_json, data["infrastructure"])) if "infrastructure" in data else None,
        author=data.get("author"),
    )


def _review(lines: Sequence[Json], cost: Json) -> Review:
    kinds = {key: tuple(line for line in lines if key in line) for key in ("memory", "surge")}
    measured = [line for line in lines if "address" in line and not line.keys() & kinds.keys()]
    return Review(
        pools=tuple(line for line in lines if "address" not in line),
        cost=cost,
        measured=tuple(map(measured_from_json, measured)),
        memory=kinds["memory"],
        surges=kinds["surge"],
    )


def _not_a_plan(why: str) -> SluiceError:
    return SluiceError(
        "PLAN-001", what="this file is not a plan that can run", why=why, do="sluice plan ENV -o plan.json"
    )


def _change_from_json(data: Json) -> Change:
    fields = tuple(FieldChange(f["path"], f["from"], f["to"]) for f in data["fields"])
    moves_by = MovesBy(data["moves_by"])
    return Change(parse_address(data["address"]), Action(data["action"]), fields, moves_by, data["release"])


def _with_nodes(change: Change, desired: DesiredEndpoint | None, needs: Mapping[tuple[str, str], PoolNeed]) -> Change:
    loads = desired is not None and change.moves_by is MovesBy.COLD_LOAD
    need = needs.get((change.address.region, desired.pool or "")) if desired and loads else None
    if need is None or need.nodes_at_peak <= need.nodes_now_min:
        return change
    return replace(change, moves_by=MovesBy.NEW_NODES)
