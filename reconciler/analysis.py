"""Turn counters into evidence: one analyst for a rollout in a region makes ticks, judges them and keeps them.

Every tick goes to the store, so that a new process judges on where a dead one stopped, and any decision can be
replayed with other settings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from environments.errors import SluiceError
from reconciler.core import judge as judging
from reconciler.core.counts import Counts, counts_of_both
from reconciler.core.next_steps import NO_EVIDENCE, Evidence
from reconciler.core.observed import ObservedEndpoint
from reconciler.core.promises import judge_promises
from reconciler.core.rollout import Phase, RegionRollout, Rollout
from reconciler.core.verdict import Verdict, fold
from reconciler.counters import carried, difference, read_counters
from reconciler.limits import judge_limits
from reconciler.ports import SlotCounts, Store
from reconciler.region import Region


class Analyst:
    """Reads one region's counters tick by tick. `judgement` is the latest answer of the canary judge, None before."""

    def __init__(self, region: Region, store: Store, settings: judging.JudgeSettings) -> None:
        self._region = region
        self._store = store
        self._settings = settings
        self._state = judging.start(settings)
        self._began: float | None = None
        self._last_tick: float | None = None
        self._counters: dict[str, SlotCounts] = {}
        self._period = _Period()
        self.judgement: judging.Judgement | None = None
        self.latest: dict[str, SlotCounts] = {}
        self.evidence: Evidence = NO_EVIDENCE

    async def resume(self, rollout: Rollout) -> None:
        """Judge again the ticks that an earlier process recorded."""
        for body in await self._store.ticks(rollout.id, self._region.name):
            self._began = body["began"]
            self._advance(judging.tick_from_json(body["tick"]))
            self._last_tick = body["began"] + body["tick"]["t_s"]

    async def look(self, rollout: Rollout, seen: ObservedEndpoint, now: float) -> Evidence:
        """Return the evidence at `now`, having read a tick if one is due."""
        part = rollout.region(self._region.name)
        if part.phase not in (Phase.SHIFTING, Phase.BAKING):
            return NO_EVIDENCE
        if self._last_tick is None or now - self._last_tick >= rollout.settings.tick_s or not self._counters:
            try:
                await self._tick(rollout, part, seen, now)
            except SluiceError as error:
                if not error.retryable and not error.code.startswith("JUDGE-"):
                    raise
                # A gateway or server that restarts gives no tick, or an impossible one: no evidence, never zero errors.
                return replace(self.evidence, canary_sentence=f"counters cannot be read: {error.problem.what}")
        return self.evidence

    async def _tick(self, rollout: Rollout, part: RegionRollout, seen: ObservedEndpoint, now: float) -> None:
        counters = await read_counters(self._region, rollout.settings.runtime, seen)
        deltas = {slot: difference(self._counters.get(slot), c) for slot, c in counters.items()}
        first, self.latest = not self._counters, counters
        self._counters |= {slot: carried(self._counters.get(slot), c) for slot, c in counters.items()}
        self._began = now if self._began is None else self._began
        self._last_tick = now
        if self._period.begin((str(part.phase), part.step, part.since), now) or first:
            # Weights have just moved (or this process just started): what was counted before belongs to another step.
            kept = self.evidence
            self.evidence = replace(NO_EVIDENCE, canary=kept.canary, canary_sentence=kept.canary_sentence)
            return
        challenger = deltas.get(part.slot, Counts())
        champion = deltas.get(part.champion_slot or "", Counts())
        self._period.add(champion, challenger)
        if part.phase is Phase.SHIFTING:
            await self._judge(
                rollout, part, seen, judging.Tick(now - self._began, 0.0, _arm(champion), _arm(challenger))
            )
        bake, bake_sentence = judge_promises(self._period.challenger, rollout.settings.slo)
        limits = await judge_limits(rollout, self._region, self._period.challenger, window_s=now - part.since)
        canary = self.judgement
        canary_verdict = Verdict(canary.verdict) if canary else Verdict.INCONCLUSIVE
        words = [canary.sentence if canary else "no tick yet", *(s for v, s in limits if v is not Verdict.PASS)]
        self.evidence = Evidence(
            canary=fold([canary_verdict, *(v for v, _ in limits)]),
            canary_sentence="; ".join(words),
            bake=fold([bake, *(v for v, _ in limits)]),
            bake_sentence="; ".join([bake_sentence, *(s for v, s in limits if v is not Verdict.PASS)]),
            step_requests=self._period.champion.requests + self._period.challenger.requests,
            step_challenger_requests=self._period.challenger.requests,
            watched_s=now - self._period.began,
        )

    async def _judge(self, rollout: Rollout, part: RegionRollout, seen: ObservedEndpoint, tick: judging.Tick) -> None:
        weighed = replace(tick, weight_pct=seen.weights.get(part.slot, 0.0))
        self._advance(weighed)
        body = {"began": self._began, "tick": judging.tick_to_json(weighed)}
        await self._store.add_tick(rollout.id, part.region, body)

    def _advance(self, tick: judging.Tick) -> None:
        """Judge one more tick. After a PASS the judge starts anew and may only still FAIL: the ramp goes on."""
        self._state = judging.observe(self._state, tick, self._settings)
        found = judging.judge(self._state, self._settings)
        passed = self.judgement is not None and Verdict(self.judgement.verdict) is Verdict.PASS
        if not passed or Verdict(found.verdict) is Verdict.FAIL:
            self.judgement = found
        if Verdict(found.verdict) is Verdict.PASS:
            self._state = judging.start(self._settings)


class _Period:
    """Counts since the present step or phase came into force."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self.began = 0.0
        self.champion = Counts()
        self.challenger = Counts()

    def begin(self, key: tuple[Any, ...], now: float) -> bool:
        """Start anew when the step changed, and say whether it did."""
        if key == self._key:
            return False
        self.began = now
        self._key, self.champion, self.challenger = key, Counts(), Counts()
        return True

    def add(self, champion: Counts, challenger: Counts) -> None:
        self.champion, self.challenger = (
            counts_of_both(self.champion, champion),
            counts_of_both(self.challenger, challenger),
        )


def _arm(counts: Counts) -> judging.ArmCounts:
    return judging.ArmCounts(counts.requests, counts.errors, counts.ttft_s, counts.itl_s, counts.rejected)
