"""Drive one rollout: every region observes, decides and acts by itself, under one lease and one journal.

A region is slow, silent or stuck without holding up another one's rollback. What regions share is the rollout in the
journal: when it changes, all of them decide again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.rollout import GateResult, Intent, Phase, Rollout
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.after import watched_again
from reconciler.core.rollout.next_steps import leaving_steps, region_steps, rollout_steps
from reconciler.core.rollout.steps import (
    Effect,
    Enter,
    Finish,
    NoteSilence,
    Pause,
    RegionTransition,
    RunGate,
    SetAlias,
    SetWeights,
    Step,
    Wait,
    WarmSlot,
)
from reconciler.core.rollout.view import NO_EVIDENCE, Evidence
from reconciler.engine.execute import Doing, carry_out
from reconciler.engine.journal import Record
from reconciler.engine.note_cache import cache_logged
from reconciler.engine.read_when_changed import ReadWhenChanged
from reconciler.planning.observe import observe
from reconciler.ports import GateProgress, InProgress, SlotCounts, untold
from reconciler.ports.adapters import Adapters, Region, RegionReader

if TYPE_CHECKING:
    from reconciler.evidence.analyst import Analyst
    from reconciler.evidence.rollout_judge import RolloutJudge

POLL_S = 0.5
OPERATOR_POLL_S = 0.25
OBSERVE_S = 20.0
TICKS_KEPT = 20
_FATAL = ("LEASE-", "STORE-")
_PARTING_STEPS = 4


@dataclass(frozen=True)
class Snapshot:
    """What the regions last saw and decided, for whoever watches. `counters` is keyed by region, then slot.

    `gates` says by region where a gate stands that is being asked.
    """

    rollout: Rollout
    steps: tuple[Step, ...]
    observed: Mapping[str, ObservedEndpoint]
    evidence: Mapping[str, Evidence]
    counters: Mapping[str, Mapping[str, SlotCounts]] = field(default_factory=dict)
    judged: Mapping[str, Json] = field(default_factory=dict)
    gates: Mapping[str, GateProgress] = field(default_factory=dict)


Watcher = Callable[[Snapshot], None]


@dataclass(frozen=True)
class _Turn:
    """One region's latest turn; `seen` is None when it could not be read."""

    seen: ObservedEndpoint | None
    evidence: Evidence
    steps: tuple[Step, ...]

    @property
    def settled(self) -> bool:
        """Return whether nothing happens here until a person, or another region, does something."""
        return all(isinstance(step, Wait) and step.settled for step in self.steps)


class Loop:
    """Drives one rollout to its end, or to where a person has to decide. `leave` has it stop early, in good order."""

    def __init__(self, adapters: Adapters, record: Record, watch: Watcher) -> None:
        self._adapters = adapters
        self._record = record
        self._watch = watch
        self._readers = {
            name: RegionReader(name, ReadWhenChanged(region.reader, adapters.clock), region.pointers)
            for name, region in adapters.regions.items()
        }
        self._analysts: dict[str, Analyst] = {}
        self._judge: RolloutJudge | None = None
        self._turns: dict[str, _Turn] = {}
        self._asking: dict[str, GateProgress] = {}
        self._wake: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Event()
        self._leaving = False

    @property
    def rollout(self) -> Rollout:
        """Return the rollout as it stands in the journal."""
        return self._record.rollout

    def leave(self) -> None:
        """Have `run` return soon: traffic goes back to champions that nobody would watch any more."""
        self._leaving = True
        self._wake_all()

    async def run(self) -> Rollout:
        """Return the rollout when it has ended, waits for a person, or was left.

        Raises:
            SluiceError: `LEASE-002` another owner has taken over; `STORE-…` the store cannot be read or written for as
                long as the lease lasts. Nothing is done after either, and the next owner goes on from what is there.
        """
        await self._record.change(lambda rollout: watched_again(rollout, self._adapters.clock()))
        names = [r.region for r in self._record.rollout.regions]
        self._wake = {name: asyncio.Event() for name in names}
        workers = [asyncio.create_task(self._region(name), name=name) for name in names]
        try:
            return await self._conduct(workers)
        except SluiceError as error:
            if not error.code.startswith("LEASE-"):
                await self._abandon(workers, recorded=not error.code.startswith("STORE-"))
            raise
        except Exception:
            await self._abandon(workers, recorded=True)
            raise
        finally:
            await _cancelled(workers)
            await asyncio.gather(*(analyst.close() for analyst in self._analysts.values()))

    async def _abandon(self, workers: list[asyncio.Task[None]], *, recorded: bool) -> None:
        """Take traffic back to the champions before this loop ends: nobody would watch the challenger.

        Where the store does not answer it happens unrecorded, while the lease lasts: the next owner finds the weights.
        """
        await _cancelled(workers)
        self._leaving = True
        for name in self._wake:
            for _ in range(_PARTING_STEPS):
                seen = await self._observe(name)
                step = leaving_steps(self._record.rollout, name, seen, self._adapters.clock())[0]
                if isinstance(step, Wait):
                    break
                if recorded:
                    await self._act(step, self._record.rollout, seen)
                elif isinstance(step, SetWeights):
                    doing = Doing(self._record.rollout, seen, self._record.held.lease.token)
                    await carry_out(step, doing, self._adapters)
                else:
                    break

    async def _conduct(self, workers: list[asyncio.Task[None]]) -> Rollout:
        """Take in what an operator wants, end the rollout when its regions have ended, and tell who watches."""
        while True:
            for worker in workers:
                if worker.done():
                    worker.result()
            if self._record.held.failing:
                raise self._record.held.failing
            before = self._record.rollout
            rollout = await self._record.refresh()
            if rollout != before:
                self._wake_all()
            if rollout.ended or self._may_return(rollout):
                self._show()
                return rollout
            for step in rollout_steps(rollout, self._adapters.clock())[:1]:
                await self._act(step, rollout, None)
            self._show()
            await self._pause_until_changed(workers)

    def _may_return(self, rollout: Rollout) -> bool:
        settled = len(self._turns) == len(rollout.regions) and all(turn.settled for turn in self._turns.values())
        return settled and (self._leaving or (rollout.phase is Phase.PAUSED and not rollout.falling_back))

    async def _pause_until_changed(self, workers: list[asyncio.Task[None]]) -> None:
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait([changed, *workers], timeout=OPERATOR_POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            self._changed.clear()

    async def _region(self, name: str) -> None:
        """Turn by turn: observe one region, look at its evidence, decide, and do the first thing to do."""
        while True:
            self._wake[name].clear()
            seen = await self._observe(name)
            evidence = await self._look(name, seen)
            rollout, now = self._record.rollout, self._adapters.clock()
            if self._leaving:
                steps = leaving_steps(rollout, name, seen, now)
            else:
                steps = region_steps(rollout, name, seen, evidence, now)
            self._turns[name] = _Turn(seen, evidence, steps)
            if not steps or isinstance(steps[0], Wait):
                self._changed.set()
                await self._rest(name)
            else:
                await self._act(steps[0], rollout, seen)

    async def _rest(self, name: str) -> None:
        # Not `wait_for`: before Python 3.12 it may swallow a cancellation that comes together with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._wake[name].wait()

    async def _observe(self, name: str) -> ObservedEndpoint | None:
        """Return the endpoint in a region; None when the region cannot be read, or is not there any more."""
        region = self._readers.get(name)
        if region is None:
            return None
        endpoint = self._record.rollout.endpoint
        try:
            async with asyncio.timeout(OBSERVE_S):
                state = await observe([region], [endpoint])
        except TimeoutError:
            return None
        return next((seen for address, seen in state.endpoints.items() if address.endpoint == endpoint), None)

    async def _look(self, name: str, seen: ObservedEndpoint | None) -> Evidence:
        region, rollout = self._adapters.regions.get(name), self._record.rollout
        watched = rollout.settings.judged and rollout.region(name).phase in (Phase.SHIFTING, Phase.BAKING)
        if seen is None or region is None or not watched:
            return NO_EVIDENCE
        try:
            analyst = self._analysts.get(name) or await self._analyst(name, region)
            return await analyst.look(self._record.rollout, seen, self._adapters.clock())
        except SluiceError as error:
            if error.code.startswith(_FATAL) and not error.retryable:
                raise
            why = f"the evidence cannot be read: {error.code}: {error.problem.what}"
            return Evidence(Verdict.ERROR, why, Verdict.ERROR, why)

    async def _analyst(self, name: str, region: Region) -> Analyst:
        from reconciler.evidence.analyst import Analyst  # it imports numpy: what judges nothing goes back without it
        from reconciler.evidence.rollout_judge import RolloutJudge

        rollout = self._record.rollout
        if self._judge is None:
            self._judge = RolloutJudge(rollout)
        analyst = Analyst(region, self._adapters.store, self._judge, keep=self._record.keep_tick)
        await analyst.resume(rollout)
        self._analysts[name] = analyst
        return analyst

    async def _act(self, step: Step, decided_on: Rollout, seen: ObservedEndpoint | None) -> None:
        """Do one step and record it."""
        match step:
            case Enter(region=name) | Pause(region=name) | NoteSilence(region=name):
                await self._move(step, decided_on, self._why(name))
            case Finish():
                await self._finish(step, decided_on)
            case Wait():
                return
            case _:
                await self._effect(step, decided_on, seen)

    async def _move(self, step: RegionTransition, decided_on: Rollout, evidence: Json) -> None:
        if await self._record.move(step, decided_on, evidence):
            self._wake_all()

    async def _finish(self, step: Finish, decided_on: Rollout) -> None:
        live = [seen for name in self._turns if (seen := await self._observe(name))]
        if await self._record.finish(step, decided_on, live):
            await self._adapters.store.prune_ticks(decided_on.environment, decided_on.endpoint, keep=TICKS_KEPT)

    async def _effect(self, step: Effect, decided_on: Rollout, seen: ObservedEndpoint | None) -> None:
        await self._record.before(step)
        tell = partial(self._asking.__setitem__, step.region) if isinstance(step, RunGate) else untold
        doing = Doing(decided_on, seen, self._record.held.lease.token, _alpha(step, decided_on), tell)
        try:
            found = await self._interruptible(step, doing)
        except _Interrupted:
            return
        except SluiceError as error:
            if error.code.startswith(_FATAL):
                raise
            await self._record.failed(step, error)
        else:
            if isinstance(found, InProgress):
                await self._go_on(step, found)
            else:
                await self._record.after(step, found)
                await self._learn(step, seen)
        finally:
            if isinstance(step, RunGate):
                self._asking.pop(step.region, None)
        self._changed.set()

    async def _learn(self, step: Effect, seen: ObservedEndpoint | None) -> None:
        """Keep for the next plan what servers say of themselves once they are warm."""
        if isinstance(step, WarmSlot):
            told = await cache_logged(self._record.rollout, self._adapters.regions[step.region], seen)
            if told:
                await self._record.note(told)

    async def _go_on(self, step: Effect, found: InProgress) -> None:
        """Remember what an effect waits for that has begun, and let some time pass before it is asked again."""
        if isinstance(step, SetAlias):
            return
        await self._record.underway(step, found.why)
        self._changed.set()
        if not self._leaving:
            await self._rest(step.region)

    async def _interruptible(self, step: Effect, doing: Doing) -> GateResult | InProgress | None:
        """Carry out an effect; a gate or a warm-up ends early when its rollout stops going forward."""
        task = asyncio.create_task(carry_out(step, doing, self._adapters))
        try:
            if not isinstance(step, RunGate | WarmSlot):
                return await task
            while not task.done():
                await asyncio.wait([task], timeout=POLL_S)
                if not task.done() and self._stopped(step):
                    raise _Interrupted
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _stopped(self, step: Effect) -> bool:
        """Say whether nobody needs what a step still works on; `promote` needs no gate's answer any more."""
        rollout = self._record.rollout
        past_gates = rollout.intent is Intent.PROMOTE and isinstance(step, RunGate)
        stops = rollout.falling_back or rollout.phase is Phase.PAUSED or rollout.intent.stops
        return self._leaving or stops or past_gates

    def _why(self, region: str) -> Json:
        turn, analyst = self._turns.get(region), self._analysts.get(region)
        if turn is None or analyst is None:
            return {}
        judged = analyst.judgement.evidence if analyst.judgement else {}
        return {"canary": str(turn.evidence.canary), "sentence": turn.evidence.canary_sentence, "judge": judged}

    def _wake_all(self) -> None:
        self._changed.set()
        for event in self._wake.values():
            event.set()

    def _show(self) -> None:
        turns = self._turns
        self._watch(
            Snapshot(
                self._record.rollout,
                tuple(step for name in sorted(turns) for step in turns[name].steps),
                {name: turn.seen for name, turn in turns.items() if turn.seen},
                {name: turn.evidence for name, turn in turns.items()},
                {name: analyst.latest for name, analyst in self._analysts.items()},
                {name: a.judgement.evidence for name, a in self._analysts.items() if a.judgement},
                dict(self._asking),
            )
        )


def _alpha(step: Step, rollout: Rollout) -> float:
    """Return the share of the rollout's alpha that a gate may spend in one region."""
    if not isinstance(step, RunGate):
        return 0.0
    from reconciler.core.model.alpha import alpha_shares

    return alpha_shares(rollout.settings, len(rollout.regions)).gates[step.gate]


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for them, so that nothing acts afterwards."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Interrupted(Exception):
    """A gate or a warm-up was ended, because the rollout no longer waits for its answer."""
