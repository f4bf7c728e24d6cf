"""Gather what a plan is made of: resolve references, read live state, recall rollouts and recorded state, ask policies.

Imports core, ports and policies; gets readers only, so planning cannot change anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from environments.errors import SluiceError, SpecError, nearest
from environments.load import Loaded
from environments.names import Address
from environments.prices import NO_PRICES, PriceBook
from environments.refs import parse_ref
from environments.spec import EnvironmentSpec
from policies.facts import Approval, Facts
from policies.plans import check_plan
from policies.policy import Need
from reconciler.core.model.desired import DesiredEndpoint, ResolvedRef, desired_state, references, release_of
from reconciler.core.model.finding import Finding
from reconciler.core.model.observed import ObservedState
from reconciler.core.model.release import Artifact, Lineage, Release
from reconciler.core.model.rollout import ROLLBACK, Phase, Rollout, rollout_from_json
from reconciler.core.plan.change import Action, Change
from reconciler.core.plan.diff import narrowed
from reconciler.core.plan.drift import Drift, drift
from reconciler.core.plan.plan import Plan, Scope, World, changes_of, make_plan
from reconciler.core.plan.retire import KeptSlot, due, has_idle_slot, kept_slot
from reconciler.core.times import timestamp
from reconciler.planning.approvers import set_aside_findings
from reconciler.planning.buildable import unbuildable
from reconciler.planning.checks import Checks
from reconciler.planning.facts import Elsewhere, facts_for, not_asked
from reconciler.planning.foreseen import foreseen, spreading
from reconciler.planning.history import Recalled, recall
from reconciler.planning.observe import observe
from reconciler.planning.together import all_of
from reconciler.ports import Gate, KeepsReplicas, Registry, Runtime, Store
from reconciler.ports.adapters import RegionReader

_Answer = tuple[ResolvedRef, str | None]
_PAST_MAX = 50  # rollouts that are searched for the promotion that left a slot warm


@dataclass(frozen=True)
class Planner:
    """Makes plans of one environment.

    `gaps` says per region why it cannot be planned in this build; `runtimes` and `gates` are what this build has.
    `prices` are what machines cost.
    """

    loaded: Loaded
    store: Store
    registry: Registry
    readers: Mapping[str, RegionReader]
    gaps: Mapping[str, str]
    runtimes: Mapping[str, Runtime]
    gates: Mapping[str, Callable[[], Gate]]
    elsewhere: Elsewhere = not_asked
    prices: PriceBook = NO_PRICES

    async def plan(self, scope: Scope, *, now: float) -> Plan:
        """Return the plan for what `scope` leaves; raises what `planned` raises."""
        return (await self.planned(scope, now=now))[0]

    async def planned(self, scope: Scope, *, now: float) -> tuple[Plan, Facts]:
        """Return the plan for what `scope` leaves, and the facts that policies judged it by.

        Raises:
            SluiceError: `PLAN-004` the scope names what is not there, `PLAN-005` a region cannot be read, and those of
                registries, the store and the gates' own files.
        """
        world = await self.world(scope, now=now)
        changes = changes_of(world)
        world = replace(world, gate_digests=self.gate_digests(changes))
        facts = await self.facts(world, changes)
        findings = [*self.judged(world, changes, now=now, facts=facts), *await self._recalled(world, changes)]
        findings += await set_aside_findings(self.store, self.loaded.spec.environment)
        findings += self._checks().first_rollouts(_created(changes))
        moving = [(change, desired.release) for change, desired in _moving(world, changes)]
        findings += [*await foreseen(self.readers, moving), *spreading(self.readers, moving)]
        return make_plan(world, changes, findings, timestamp(now)), facts

    async def facts(self, world: World, changes: tuple[Change, ...]) -> Facts:
        """Return what policies know of these changes beyond the file."""
        overrides = self.loaded.spec.policies.values()
        wanted = {each.environment for each in overrides if each.environment and each.level != "off"}
        return await facts_for(world, changes, store=self.store, elsewhere=self.elsewhere, wanted=wanted)

    def at_apply(
        self, plan: Plan, facts: Facts, *, now: float, approvals: Sequence[Approval] = (), author: str | None = None
    ) -> tuple[Finding, ...]:
        """Return what the policies say of a plan only now that somebody wants to apply it; approvals above all.

        `facts` are those that it was planned with: who applies it asks once more before each endpoint.
        """
        facts = facts.model_copy(update={"approvals": list(approvals), "author": author})
        moment = datetime.fromtimestamp(now, UTC)
        found = check_plan(self.loaded.spec, plan.changes, now=moment, facts=facts, stage="apply")
        return tuple(each for each in found if each not in plan.findings)

    def judged(self, world: World, changes: tuple[Change, ...], *, now: float, facts: Facts) -> list[Finding]:
        """Return what the policies, and the limits of this build, say of changes: at plan, and again at apply."""
        when, need = datetime.fromtimestamp(now, UTC), Need(world.memory(changes), world.prices)
        found = [*check_plan(world.spec, changes, now=when, facts=facts, need=need), *self._unbuildable(changes)]
        return [*found, *_unreadable(world, changes), *_unpublished(world, changes), *_hasty(world, changes)]

    async def world(self, scope: Scope, *, now: float, removed: bool = False) -> World:
        """Return what is declared, live and in flight; with `removed`, names need not be declared any more."""
        spec = self.loaded.spec
        if not removed:
            check_scope(spec, scope)
        regions = [r for r in spec.regions if r in self.readers and (not scope.regions or r in scope.regions)]
        names = [e for e in spec.endpoints if not scope.endpoints or e in scope.endpoints]
        runnable = [e for e in names if any(r in self.readers for r in spec.regions_of(e))]
        (releases, gaps), live, active = await all_of(
            self.releases(runnable), self.live(scope), active_rollouts(self.store, spec.environment)
        )
        # Last, or a rollout that ends meanwhile would be neither in flight nor recorded, and what it did drift.
        recalled = await recall(self.store, spec.environment)
        kept = await self.kept_warm(live, active)
        desired = desired_state(spec, releases)
        here = tuple(self.with_replicas(d) for d in desired.endpoints if d.address.region in regions)
        return World(
            spec=spec,
            desired=type(desired)(desired.environment, here),
            observed=live,
            active=active,
            drift=self._drifted(scope, recalled, live, active),
            gaps=(*gaps, *(why for region, why in self.gaps.items() if not scope.regions or region in scope.regions)),
            scope=scope,
            measured=recalled.measured,
            wanted={name: release.id for name, release in releases.items()},
            kept=kept,
            retiring=due(kept, now),
            logged=recalled.logged,
            prices=self.prices,
        )

    async def kept_warm(self, live: ObservedState, active: Mapping[str, Rollout]) -> tuple[KeptSlot, ...]:
        """Return the slots that promotions left warm, of declared endpoints that no rollout is at work on."""
        spec = self.loaded.spec
        idle = [e for a, e in sorted(live.endpoints.items()) if a.endpoint in spec.endpoints and has_idle_slot(e)]
        names = sorted({e.address.endpoint for e in idle} - set(active))
        found = await asyncio.gather(
            *(self.store.rollouts(spec.environment, endpoint=n, active=False, limit=_PAST_MAX) for n in names)
        )
        past = {n: [rollout_from_json(s.body) for s in stored] for n, stored in zip(names, found, strict=True)}
        kept = (
            kept_slot(e, past[name], spec.endpoints[name].rollout.keep_warm_s)
            for e in idle
            if (name := e.address.endpoint) in past
        )
        return tuple(each for each in kept if each)

    def declared(self, scope: Scope) -> list[Address]:
        """Return the addresses that the file declares, `scope` leaves and this build can read."""
        spec = self.loaded.spec
        return [
            address
            for endpoint in spec.endpoints
            for region in spec.regions_of(endpoint)
            if region in self.readers and scope.leaves(address := Address(spec.environment, region, endpoint))
        ]

    async def drift(self, scope: Scope) -> tuple[Drift, ...]:
        """Return where live differs from what the ledger last recorded, endpoints in flight left out."""
        check_scope(self.loaded.spec, scope)
        active = await active_rollouts(self.store, self.loaded.spec.environment)
        live = await self.live(scope)
        return self._drifted(scope, await recall(self.store, self.loaded.spec.environment), live, active)

    def _drifted(
        self, scope: Scope, recalled: Recalled, live: ObservedState, active: Mapping[str, Rollout]
    ) -> tuple[Drift, ...]:
        kept = {
            address: facts
            for address, facts in recalled.facts.items()
            if address.endpoint not in active and address.region in self.readers and scope.leaves(address)
        }
        return drift(kept, live)

    async def live(self, scope: Scope) -> ObservedState:
        """Return the live state that `scope` leaves.

        Raises:
            SluiceError: `PLAN-005` a region cannot be read.
        """
        regions = [r for name, r in self.readers.items() if not scope.regions or name in scope.regions]
        observed = await observe(regions)
        errors = [self._unreadable(region, why) for region, why in sorted(observed.unreachable.items())]
        if errors:
            raise errors[0] if len(errors) == 1 else SpecError([error.problem for error in errors])
        return narrowed(observed, frozenset(scope.endpoints), frozenset(scope.regions))

    def _unreadable(self, region: str, why: str) -> SluiceError:
        return SluiceError(
            "PLAN-005",
            where=f"{self.loaded.spec.environment}/{region}",
            what=f"the region cannot be read: {why}",
            why="a plan must not guess what is live",
            do="sluice doctor, or leave the region out with --region",
            retryable=True,
        )

    async def releases(self, names: list[str]) -> tuple[dict[str, Release], list[str]]:
        """Return the releases of these endpoints, and what this build has no adapter for.

        Raises:
            SluiceError: everything that is wrong with engine arguments, references and files of gates, at once.
        """
        endpoints = {name: self.loaded.spec.endpoints[name] for name in names}
        asked = [(name, *each) for name, e in endpoints.items() for each in references(e.release, e.runtime)]
        answers = await self._answers(asked)
        self._refuse_broken(names, [answer for answer in answers if isinstance(answer, BaseException)])
        resolved: dict[str, dict[str, ResolvedRef]] = {name: {} for name in names}
        gaps = []
        for (name, path, _, _), answer in zip(asked, answers, strict=True):
            if not isinstance(answer, BaseException):
                resolved[name][path] = answer[0]
                gaps += [answer[1]] if answer[1] else []
        return {name: release_of(name, endpoints[name], found) for name, found in resolved.items()}, gaps

    def _refuse_broken(self, names: list[str], broken: list[BaseException]) -> None:
        checks, errors = self._checks(), [error for error in broken if isinstance(error, SluiceError)]
        for unforeseen in broken:
            if not isinstance(unforeseen, SluiceError):
                raise unforeseen
        problems = [*checks.engine_problems(names), *(problem for error in errors for problem in error.problems)]
        if not problems:
            return
        problems += checks.gate_problems(names)
        raise errors[0] if errors and len(problems) == 1 else SpecError(problems)

    def gate_digests(self, changes: tuple[Change, ...]) -> dict[str, str]:
        """Return what the gates of what is to move are made of: a bad suite is found now, not beside a challenger."""
        moving = {c.address.endpoint for c in changes if c.action in (Action.CREATE, Action.ROLLOUT)}
        names, checks = sorted(moving & set(self.loaded.spec.endpoints)), self._checks()
        if problems := checks.gate_problems(names):
            raise SpecError(problems)
        return checks.gate_digests(names)

    def _checks(self) -> Checks:
        return Checks(self.loaded, self.runtimes, self.gates)

    def _unbuildable(self, changes: tuple[Change, ...]) -> list[Finding]:
        return unbuildable(self.loaded.spec, changes, self.readers, runtimes=self.runtimes, gates=self.gates)

    def with_replicas(self, desired: DesiredEndpoint) -> DesiredEndpoint:
        """Return what is desired with how many servers carry all of its traffic where a slot can have several."""
        declared = self.loaded.spec.endpoints[desired.address.endpoint].replicas.min
        keeps = KeepsReplicas in self.readers[desired.address.region].can
        return replace(desired, replicas=max(1, declared)) if keeps else desired

    async def _answers(self, asked: Sequence[tuple[str, str, str, str]]) -> list[_Answer | BaseException]:
        """Answer each `(endpoint, path, kind, reference)`; the registry is asked once for what many endpoints name."""
        distinct = sorted({(kind, ref) for _, _, kind, ref in asked})
        found = await asyncio.gather(*(self._found(*each) for each in distinct), return_exceptions=True)
        known = dict(zip(distinct, found, strict=True))
        return [self._answer(name, path, ref, known[kind, ref]) for name, path, kind, ref in asked]

    async def _found(self, kind: str, ref: str) -> ResolvedRef:
        found = await self.registry.resolve(parse_ref(ref), kind=kind)
        return ResolvedRef(found.artifact, found.lineage, found.text)

    def _answer(self, name: str, path: str, ref: str, found: ResolvedRef | BaseException) -> _Answer | BaseException:
        """Return an answer with its gap; a scheme without an adapter is pinned by its own text and named as one."""
        if not isinstance(found, SluiceError):
            return found if isinstance(found, BaseException) else (found, None)
        if found.code == "REG-004":
            return (ResolvedRef(Artifact(ref, ""), Lineage()), f"{name}: {found.problem.what}")
        return self._placed(found, name, path)

    def _placed(self, error: SluiceError, name: str, path: str) -> SluiceError:
        """Return the registry's error with the line of the environment file that names the reference."""
        p = error.problem
        spelled = f"{path}.ref" if path in ("index", "guardrails") else path
        where = self.loaded.lines.where(f"endpoints.{name}.release.{spelled}")
        return SluiceError(error.code, where=where, what=p.what, why=p.why, do=p.do, retryable=error.retryable)

    async def _recalled(self, world: World, changes: tuple[Change, ...]) -> list[Finding]:
        """Warn of releases that were tried before and rolled back."""
        moving = [
            c for c in changes if c.action in (Action.CREATE, Action.ROLLOUT) and c.address.endpoint not in world.active
        ]
        if not moving:
            return []
        past = [rollout_from_json(s.body) for s in await self.store.rollouts(world.spec.environment, active=False)]
        findings = []
        for change in moving:
            bad = next((r for r in past if _spoke_against(r, change)), None)
            if bad:
                message = f"{change.release} was rolled back before (rollout {bad.id}): {bad.reason}"
                findings.append(Finding("ROLL-001", "warn", str(change.address), message))
        return findings


def _unreadable(world: World, changes: tuple[Change, ...]) -> list[Finding]:
    """Deny a rollout over a slot that serves what nobody can name: it would have no champion to go back to."""
    found = []
    for change in changes:
        seen = world.observed.endpoints.get(change.address)
        serving = seen.slots[seen.serving] if seen and seen.serving else None
        if seen and serving and serving.release is None and change.action is not Action.NONE:
            why = serving.problem or "its record is missing"
            message = f"slot {seen.serving} serves {serving.weight_pct:g} % with a release that cannot be read: {why}"
            found.append(Finding("ROLL-005", "deny", str(change.address), message))
    return found


def _unpublished(world: World, changes: tuple[Change, ...]) -> list[Finding]:
    """Warn of parts of a release that nothing brings to the applications: they are judged and promoted all the same."""
    found = []
    for change, desired in _moving(world, changes):
        parts = [name for name in ("index", "guardrails") if getattr(desired.release, name)]
        if parts:
            message = (
                f"this build publishes no {' and no '.join(parts)}: what applications read does not change with it"
            )
            found.append(Finding("BUILD-002", "warn", str(change.address), message))
    return found


def _hasty(world: World, changes: tuple[Change, ...]) -> list[Finding]:
    """Warn of steps that end before the judge looks: each then lasts until its first look."""
    found = []
    for change, desired in _moving(world, changes):
        how = desired.settings
        if how.ladder and how.step_min_s < how.tick_s:
            message = (
                f"step_min_s is {how.step_min_s:g} and the judge looks every {how.tick_s:g} s; a step waits for it"
            )
            found.append(Finding("ROLL-008", "warn", str(change.address), message))
    return found


def _moving(world: World, changes: tuple[Change, ...]) -> Iterator[tuple[Change, DesiredEndpoint]]:
    wanted = {d.address: d for d in world.desired.endpoints}
    for change in changes:
        if change.action in (Action.CREATE, Action.ROLLOUT) and change.address in wanted:
            yield change, wanted[change.address]


def _created(changes: tuple[Change, ...]) -> dict[str, str]:
    """Return the address of each endpoint that is to be deployed for the first time, in the first of its regions."""
    return {c.address.endpoint: str(c.address) for c in reversed(changes) if c.action is Action.CREATE}


def _spoke_against(past: Rollout, change: Change) -> bool:
    """Return whether a past rollout ended against the release that a change leads to."""
    if past.endpoint != change.address.endpoint:
        return False
    if past.mode == ROLLBACK:
        return any(r.champion and r.champion.id == change.release for r in past.regions)
    return past.phase is Phase.ROLLED_BACK and past.challenger.id == change.release


def check_scope(spec: EnvironmentSpec, scope: Scope) -> None:
    """Refuse names that the environment does not have.

    Raises:
        SluiceError: `PLAN-004`.
    """
    for kind, names, known in (("endpoint", scope.endpoints, spec.endpoints), ("region", scope.regions, spec.regions)):
        for name in names:
            if name not in known:
                raise SluiceError(
                    "PLAN-004",
                    where=spec.environment,
                    what=f'there is no {kind} "{name}"',
                    why=f"--{kind} narrows to what the environment file declares",
                    do=f"name one of them ({nearest(name, known)})",
                )


async def active_rollouts(store: Store, environment: str) -> dict[str, Rollout]:
    """Return the rollouts in flight by endpoint."""
    stored = await store.rollouts(environment, active=True)
    return {s.endpoint: rollout_from_json(s.body) for s in stored}
