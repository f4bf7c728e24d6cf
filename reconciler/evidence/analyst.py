"""Turn counters into evidence: one analyst for a rollout in a region makes ticks, has them judged and keeps them.

Every tick goes to the store, so that a new process judges on where a dead one stopped, and any decision can be
replayed with other settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from environments.errors import SluiceError
from reconciler.core import judge as judging
from reconciler.core.canonical import Json
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.rollout import Phase, RegionRollout, Rollout
from reconciler.core.model.verdict import Verdict, fold
from reconciler.core.rollout.next_steps import NO_EVIDENCE, Evidence
from reconciler.core.slo_check import check_slo
from reconciler.evidence.arms import Arms
from reconciler.evidence.counters import SummedServers, read_counters
from reconciler.evidence.freshness import age_s, too_old, without_counts
from reconciler.evidence.in_flight import OpenRequests
from reconciler.evidence.limits import Judged, LimitWatch
from reconciler.evidence.rollout_judge import RolloutJudge
from reconciler.ports import OLD_S, Cohort, CountsByStart, SlotCounts, Store
from reconciler.ports.adapters import Region

ANSWER_FLOOR_S = 30.0  # so long every answer may take in a bake, however short the champion's are
ANSWER_SLACK = 2.0
Keep = Callable[[str, Json], Awaitable[None]]
"""Keeps a region's tick, under the lease of whoever judges it."""


class Analyst:
    """Reads one region's counters tick by tick; several may look at the same time.

    `judgement` is the latest answer of the canary judge, None before; `latest` are the slots' counters.
    """

    def __init__(self, region: Region, store: Store, judge: RolloutJudge, *, keep: Keep) -> None:
        self._region = region
        self._store = store
        self._judge = judge
        self._keep = keep
        self._limits = LimitWatch(region)
        self._arms = Arms()
        self._servers = SummedServers()
        self._last_look: float | None = None
        self._counted_s: float | None = None
        self._lacking: str | None = None
        self.evidence: Evidence = NO_EVIDENCE

    @property
    def judgement(self) -> judging.Judgement | None:
        """Return what the judge says to this region."""
        return self._judge.judgement(self._region.name)

    @property
    def latest(self) -> dict[str, SlotCounts]:
        """Return the newest counters by slot."""
        return self._arms.latest

    async def resume(self, rollout: Rollout) -> None:
        """Judge again the ticks that earlier processes recorded, and take up this region's counts where they ended."""
        await self._judge.resume(rollout, self._store)
        for body in self._judge.recorded.get(self._region.name, ()):
            self._arms.recall(body["began"], judging.tick_from_json(body["tick"]))

    async def look(self, rollout: Rollout, seen: ObservedEndpoint, now: float) -> Evidence:
        """Return the evidence at `now`, having read a tick if one is due.

        What was told before goes on for a moment while counts cannot be read, and passes nothing once it is old.
        """
        part = rollout.region(self._region.name)
        if part.phase not in (Phase.SHIFTING, Phase.BAKING):
            return NO_EVIDENCE
        if self._last_look is None or now - self._last_look >= rollout.settings.tick_s or self._arms.stale(part):
            try:
                self._lacking = await self._tick(rollout, part, seen, now)
            except SluiceError as error:
                if not error.retryable and not error.code.startswith("JUDGE-"):
                    raise
                # A gateway or server that restarts gives no tick, or an impossible one: no evidence, never zero errors.
                self._lacking = f"counters cannot be read: {error.problem.what}"
        return self._told() if self._lacking is None else self._old(rollout, part, now, self._lacking)

    async def close(self) -> None:
        """End what is still being asked in the background."""
        await self._limits.close()

    async def _tick(self, rollout: Rollout, part: RegionRollout, seen: ObservedEndpoint, now: float) -> str | None:
        """Read and judge a tick; return in words why there is none, where all that is told is old."""
        counters, cohorts = await asyncio.gather(
            read_counters(self._region, rollout.settings.runtime, seen, self._servers), self._cohorts(seen, now)
        )
        self._last_look, old_s = now, age_s(counters)
        if old := too_old(counters):
            return old
        if old_s > 0 and now - old_s < part.since:
            return f"what is counted is {old_s:.0f} s old, from before this step"
        self._counted_s = now - old_s
        weight_pct, age = seen.weights.get(part.slot, 0.0), self._answer_age_s(part)
        tick = self._arms.read(rollout, part, counters, cohorts, weight_pct=weight_pct, answer_age_s=age, now=now)
        if tick is not None and part.phase is Phase.SHIFTING:
            await self._judged(tick)
        limits = await self._limits.look(rollout, self._arms.challenger, since_s=part.since, now=now)
        self.evidence = self._evidence(rollout, part, limits, now)
        return None

    async def _cohorts(self, seen: ObservedEndpoint, now: float) -> dict[str, tuple[Cohort, ...]] | None:
        """Return the windows that may have moved, by slot; None of a gateway that does not know when requests began."""
        if not isinstance(self._region.reader, CountsByStart):
            return None
        return dict(await self._region.reader.cohorts(seen.address, since_s=self._arms.since_s(now)))

    async def _judged(self, tick: judging.Tick) -> None:
        self._judge.observe(self._region.name, tick)
        body = {"began": self._arms.began_s, "tick": judging.tick_to_json(tick)}
        await self._keep(self._region.name, body)

    def _evidence(self, rollout: Rollout, part: RegionRollout, limits: list[Judged], now: float) -> Evidence:
        bake, bake_sentence = self._bake(rollout, part, now)
        requests, challenger = self._arms.step_requests()
        beside = [sentence for verdict, sentence in limits if verdict is not Verdict.PASS]
        if self._arms.late and part.phase is Phase.SHIFTING:
            beside.append(f"{self._arms.late:,} of the challenger's requests are open for too long and count as failed")
        held = self._held(part)
        if held:
            beside.append(
                f"{held.in_flight:,} of the challenger's requests have not ended, where {held.usual:,.0f} are usual: "
                "the weight waits until it is known whether they do"
            )
        return Evidence(
            canary=fold([Verdict.INCONCLUSIVE if held else Verdict.PASS, *(verdict for verdict, _ in limits)]),
            canary_sentence="; ".join(beside),
            bake=fold([bake, *(verdict for verdict, _ in limits)]),
            bake_sentence="; ".join([bake_sentence, *beside]),
            step_requests=requests,
            step_challenger_requests=challenger,
            watched_s=self._arms.watched_s(part, now),
            looks=self._arms.looks,
            leaning=held is not None,
        )

    def _held(self, part: RegionRollout) -> OpenRequests | None:
        """Return the challenger's open requests where they hold its weight."""
        found = self._arms.open_requests if part.phase is Phase.SHIFTING else None
        return found if found and found.hold else None

    def _told(self) -> Evidence:
        """Return the evidence with what the judge says now: another region may have spoken since this one looked."""
        canary = self.judgement
        verdict = Verdict(canary.verdict) if canary else Verdict.INCONCLUSIVE
        words = [canary.sentence if canary else "no tick yet", self.evidence.canary_sentence]
        limits = self.evidence.canary if self.evidence is not NO_EVIDENCE else Verdict.INCONCLUSIVE
        return replace(
            self.evidence,
            canary=fold([verdict, limits]),
            canary_sentence="; ".join(word for word in words if word),
            leaning=self.evidence.leaning or self._judge.leaning(),
        )

    def _old(self, rollout: Rollout, part: RegionRollout, now: float, lacking: str) -> Evidence:
        """Return what was told before, while that is fresh and of this step; what passes nothing afterwards.

        No weight rises and no bake ends meanwhile: both wait until somebody watches again.
        """
        told, known_s = self._told(), self._counted_s
        if self._arms.stale(part) or known_s is None:
            return without_counts(told, lacking)
        if now - known_s <= OLD_S + rollout.settings.tick_s:
            bake = without_counts(told, lacking)
            kept = replace(told, canary_sentence=lacking, watched_s=0.0, looks=0)
            return replace(kept, bake=bake.bake, bake_sentence=bake.bake_sentence)
        age = f"what was counted last is {now - known_s:.0f} s old, older than {OLD_S:g} s"
        return without_counts(told, lacking if f"older than {OLD_S:g} s" in lacking else f"{age}: {lacking}")

    def _bake(self, rollout: Rollout, part: RegionRollout, now: float) -> tuple[Verdict, str]:
        if part.phase is not Phase.BAKING:
            return Verdict.INCONCLUSIVE, "no bake yet"
        answered_s = self._answer_age_s(part)
        counts = self._arms.begun_in_bake(part.since) if self._arms.by_start else self._arms.challenger
        waiting = self._arms.unanswered(part.since, now, answered_s) if answered_s else None
        return check_slo(counts, rollout.settings.slo, alpha=self._judge.bake_alpha, unanswered=waiting)

    def _answer_age_s(self, part: RegionRollout) -> float | None:
        """Return an age at which all requests should have ended: twice what nearly all of the champion's took."""
        usual = self._arms.answer_s(part.champion_slot) or self._judge.answered_age_s(self._region.name)
        return None if usual is None else max(ANSWER_FLOOR_S, ANSWER_SLACK * usual)
