"""The loop: the one place that acts. Observe, ask the core for the next steps, check the lease, do, record, repeat.

Imports core and ports. `reconciler.apply` and the controller run one loop for each rollout that they own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from environments.errors import SluiceError
from reconciler.analysis import Analyst
from reconciler.core.after import after, watched_again
from reconciler.core.canonical import Json
from reconciler.core.next_steps import Evidence, next_steps
from reconciler.core.observed import ObservedEndpoint
from reconciler.core.rollout import GateResult, Intent, Phase, Rollout
from reconciler.core.steps import (
    Await,
    Enter,
    Finish,
    Mark,
    Note,
    Pause,
    Publish,
    Remove,
    RunGate,
    StartSlot,
    Step,
    StopSlot,
    WarmSlot,
    Weigh,
)
from reconciler.core.verdict import Verdict
from reconciler.effects import Effect, carry_out
from reconciler.observing import observe
from reconciler.ports import Lease, SlotCounts
from reconciler.record import Record
from reconciler.region import Workshop
from reconciler.rollout_judge import RolloutJudge

LEASE_TTL_S = 15.0
ATTEMPTS_MAX = 3
_POLL_S = 0.5
_FATAL = ("LEASE-001", "LEASE-002", "STORE-001", "STORE-004")


@dataclass(frozen=True)
class Snapshot:
    """What one turn of the loop saw and decided, for whoever watches. `counters` is keyed by region, then slot."""

    rollout: Rollout
    steps: tuple[Step, ...]
    observed: Mapping[str, ObservedEndpoint]
    evidence: Mapping[str, Evidence]
    counters: Mapping[str, Mapping[str, SlotCounts]] = field(default_factory=dict)
    judged: Mapping[str, Json] = field(default_factory=dict)


Watcher = Callable[[Snapshot], None]
Idle = Callable[[float], Awaitable[None]]


class Loop:
    """Drives one rollout to its end, or to where a person has to decide."""

    def __init__(self, shop: Workshop, record: Record, watch: Watcher, *, idle: Idle = asyncio.sleep) -> None:
        self._shop = shop
        self._record = record
        self._watch = watch
        self._idle = idle
        self._analysts: dict[str, Analyst] = {}
        self._judge: RolloutJudge | None = None
        self._failures: dict[Step, int] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._doing: dict[str, Step] = {}
        self._writing = asyncio.Lock()

    async def run(self) -> Rollout:
        """Return the rollout when it has ended or waits for a person.

        Raises:
            SluiceError: `LEASE-002` another owner has taken over; `STORE-001` the ledger cannot be written. Nothing is
                done after either, and the next owner goes on from what is there.
        """
        async with _kept(self._shop, self._record):
            try:
                await self._record.change(partial(watched_again, now=self._shop.clock()))
                while True:
                    rollout = await self._record.reload()
                    if rollout.ended or (rollout.phase is Phase.PAUSED and rollout.intent is not Intent.ABORT):
                        return rollout
                    await self._turn(rollout)
            finally:
                await _cancelled(self._busy.values())
                await asyncio.gather(*(analyst.close() for analyst in self._analysts.values()))

    async def _turn(self, rollout: Rollout) -> None:
        """Give every idle region its next steps, and wait until one of them is done or it is time to look again."""
        seen = await self._observe(rollout)
        evidence = await self._evidence(rollout, seen)
        steps = next_steps(rollout, seen, evidence, self._shop.clock())
        self._watch(self._snapshot(rollout, steps, seen, evidence))
        for name, group in _by_region(steps).items():
            if name in self._busy:
                self._interrupt(name, group)
            elif not all(isinstance(step, Await) for step in group):
                self._doing[name] = group[0]
                self._busy[name] = asyncio.create_task(self._region(rollout, group, seen, evidence))
        if not self._busy:
            await self._idle(_POLL_S)
            return
        await asyncio.wait(self._busy.values(), timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
        for name in [name for name, task in self._busy.items() if task.done()]:
            task = self._busy.pop(name)
            if not task.cancelled():
                task.result()

    def _interrupt(self, name: str, steps: Sequence[Step]) -> None:
        """End a gate or warm-up that is still running in a region which has to roll back."""
        back = any(isinstance(s, Enter) and s.phase is Phase.ROLLING_BACK for s in steps)
        if back and isinstance(self._doing.get(name), RunGate | WarmSlot):
            self._busy[name].cancel()

    async def _observe(self, rollout: Rollout) -> dict[str, ObservedEndpoint]:
        regions = [self._shop.regions[r.region] for r in rollout.regions if r.region in self._shop.regions]
        state = await observe(regions, [rollout.endpoint])
        return {
            address.region: seen for address, seen in state.endpoints.items() if address.endpoint == rollout.endpoint
        }

    async def _evidence(self, rollout: Rollout, seen: Mapping[str, ObservedEndpoint]) -> dict[str, Evidence]:
        now = self._shop.clock()
        found = {}
        for name, endpoint in seen.items():
            analyst = self._analysts.get(name)
            if analyst is None:
                self._judge = self._judge or RolloutJudge(rollout)
                analyst = Analyst(self._shop.regions[name], self._shop.store, self._judge)
                await analyst.resume(rollout)
                self._analysts[name] = analyst
            found[name] = await analyst.look(rollout, endpoint, now)
        return found

    async def _region(
        self,
        rollout: Rollout,
        steps: Sequence[Step],
        seen: Mapping[str, ObservedEndpoint],
        evidence: Mapping[str, Evidence],
    ) -> None:
        for step in steps:
            if not await self._step(rollout, step, seen, evidence):
                return

    async def _step(
        self,
        rollout: Rollout,
        step: Step,
        seen: Mapping[str, ObservedEndpoint],
        evidence: Mapping[str, Evidence],
    ) -> bool:
        """Do one step and record it; return whether the steps after it still make sense."""
        match step:
            case Await():
                return True
            case Note():
                await self._change(step, None)
            case Enter(region=name) | Pause(region=name):
                async with self._writing:
                    await self._record.moved(step, self._why(name, evidence))
                await self._change(step, None)
            case Finish():
                for endpoint in (await self._observe(rollout)).values():
                    await self._record.state(endpoint)
                await self._record.moved(step, {})
                await self._change(step, None)
            case StartSlot() | WarmSlot() | RunGate() | Publish() | Weigh() | StopSlot() | Remove() | Mark():
                return await self._effect(Effect(step, rollout, seen, self._record.lease.token))
        return True

    async def _effect(self, effect: Effect) -> bool:
        async with self._writing:
            await self._record.before(effect.step)
        try:
            found = await carry_out(effect, self._shop)
        except SluiceError as error:
            if error.code in _FATAL:
                raise
            await self._failed(effect, error)
            return False
        self._failures.pop(effect.step, None)
        async with self._writing:
            await self._record.after(effect.step, found)
        await self._change(effect.step, found)
        return True

    async def _failed(self, effect: Effect, error: SluiceError) -> None:
        """Record a failed effect; after some attempts fail the challenger, or pause when the fault is not its own."""
        async with self._writing:
            await self._record.failed(effect.step, error)
        tries = self._failures[effect.step] = self._failures.get(effect.step, 0) + 1
        verdict = _blame(effect, error, tries)
        if verdict is None:
            await self._idle(_POLL_S * min(tries, 10))
            return
        name = effect.step.region if not isinstance(effect.step, Mark | Finish) else effect.rollout.regions[0].region
        why = f"{error.code}: {error.problem.what}"
        moved = Enter(name, Phase.ROLLING_BACK, verdict=verdict, reason=why) if verdict is Verdict.FAIL else None
        step = moved or Pause(name, verdict, why)
        async with self._writing:
            await self._record.moved(step, {})
        await self._change(step, None)

    async def _change(self, step: Step, found: GateResult | None) -> None:
        async with self._writing:
            await self._record.change(partial(after, step=step, now=self._shop.clock(), found=found))

    def _why(self, region: str, evidence: Mapping[str, Evidence]) -> Json:
        known, analyst = evidence.get(region), self._analysts.get(region)
        if known is None or analyst is None:
            return {}
        judged = analyst.judgement.evidence if analyst.judgement else {}
        return {"canary": str(known.canary), "sentence": known.canary_sentence, "judge": judged}

    def _snapshot(
        self,
        rollout: Rollout,
        steps: tuple[Step, ...],
        seen: Mapping[str, ObservedEndpoint],
        evidence: Mapping[str, Evidence],
    ) -> Snapshot:
        counters = {name: analyst.latest for name, analyst in self._analysts.items()}
        judged = {name: a.judgement.evidence for name, a in self._analysts.items() if a.judgement}
        return Snapshot(rollout, steps, seen, evidence, counters, judged)


def _blame(effect: Effect, error: SluiceError, tries: int) -> Verdict | None:
    """Return FAIL when the challenger is at fault, ERROR when trying has not helped something else, else None."""
    if any(r.phase is Phase.ROLLING_BACK for r in effect.rollout.regions):
        return None  # a rollback is tried until it succeeds
    challenger = isinstance(effect.step, WarmSlot) or (
        isinstance(effect.step, StartSlot) and effect.step.role == "challenger"
    )
    if challenger and (not error.retryable or tries >= ATTEMPTS_MAX):
        return Verdict.FAIL
    return Verdict.ERROR if tries >= ATTEMPTS_MAX else None


def _by_region(steps: Sequence[Step]) -> dict[str, list[Step]]:
    """Return the steps grouped by region, each group in order; steps of the whole rollout are one group."""
    groups: dict[str, list[Step]] = {}
    for step in steps:
        groups.setdefault("" if isinstance(step, Mark | Finish) else step.region, []).append(step)
    return groups


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for them, so that nothing acts after the loop has returned."""
    listed = list(tasks)
    for task in listed:
        task.cancel()
    await asyncio.gather(*listed, return_exceptions=True)


@contextlib.asynccontextmanager
async def _kept(shop: Workshop, record: Record) -> AsyncIterator[None]:
    """Keep the lease renewed while the body runs; end the body when it is lost."""
    body = asyncio.current_task()
    lost: list[SluiceError] = []

    async def keep() -> None:
        while True:
            await asyncio.sleep(LEASE_TTL_S / 3)
            try:
                record.lease = await shop.store.renew(record.lease, ttl_s=LEASE_TTL_S, now=shop.clock())
            except SluiceError as error:
                if error.retryable and error.code != "LEASE-002":
                    continue
                lost.append(error)
                if body:
                    body.cancel()
                return

    keeper = asyncio.create_task(keep())
    try:
        yield
    except asyncio.CancelledError:
        if lost:
            raise lost[0] from None
        raise
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def take_lease(shop: Workshop, name: str, owner: str, *, is_dead: Callable[[str], bool]) -> Lease:
    """Take the lease of an endpoint; one whose owner is known to be dead is broken first.

    Raises:
        SluiceError: `LEASE-001` a living owner holds it.
    """
    held = await shop.store.lease(name)
    if held and held.owner != owner and held.expires_at > shop.clock() and is_dead(held.owner):
        await shop.store.break_lease(name, held.owner)
    return await shop.store.acquire(name, owner, ttl_s=LEASE_TTL_S, now=shop.clock())
