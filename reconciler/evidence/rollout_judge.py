"""One judge for all regions of a rollout: their analysts give it ticks, and it remembers what the regions say together.

Ticks are kept in the store. A new process judges them again in the order in which they were read, and stands where the
old one stood.
"""

from __future__ import annotations

import asyncio

from reconciler.core import judge as judging
from reconciler.core.canonical import Json
from reconciler.core.judge_block import judge_settings
from reconciler.core.model.alpha import alpha_shares
from reconciler.core.model.rollout import Rollout
from reconciler.ports import Store


class RolloutJudge:
    """Holds the judgement of one rollout. `recorded` are the stored ticks that it resumed from, by region."""

    def __init__(self, rollout: Rollout) -> None:
        regions = [region.region for region in rollout.regions]
        self.settings = judge_settings(rollout.settings)
        self.bake_alpha = alpha_shares(rollout.settings, len(regions)).bake
        self.recorded: dict[str, tuple[Json, ...]] = {}
        self._state = judging.start_rollout(regions, self.settings)
        self._seen: set[str] = set()
        self._resuming = asyncio.Lock()
        self._resumed = False

    async def resume(self, rollout: Rollout, store: Store) -> None:
        """Judge again what earlier processes recorded, in all regions; once, whoever asks first."""
        async with self._resuming:
            if self._resumed:
                return
            names = [region.region for region in rollout.regions]
            self.recorded = {name: await store.ticks(rollout.id, name) for name in names}
            told = [(_time(body), name, body) for name, bodies in self.recorded.items() for body in bodies]
            for _, name, body in sorted(told, key=lambda each: each[:2]):
                self.observe(name, judging.tick_from_json(body["tick"]))
            self._resumed = True

    def observe(self, region: str, tick: judging.Tick) -> None:
        """Judge one more tick of a region.

        Raises:
            SluiceError: `JUDGE-001` to `JUDGE-003` the tick is impossible.
        """
        self._state = judging.observe_region(self._state, region, tick, self.settings)
        self._seen.add(region)

    def judgement(self, region: str) -> judging.Judgement | None:
        """Return what the judge says to a region: the rollout's FAIL, or its own state; None before any tick."""
        if region not in self._seen and self._state.failed is None:
            return None
        return judging.judge_region(self._state, region, self.settings)

    def leaning(self) -> bool:
        """Say whether the evidence against the challenger has come half of the way to its limit."""
        return judging.leaning(self._state, self.settings)

    def answered_age_s(self, region: str) -> float | None:
        """Return the age by which nearly all of the champion's requests had ended there, None when nobody knows."""
        return judging.answered_within_s(self._state.regions[region])


def _time(body: Json) -> float:
    return float(body["began"]) + float(body["tick"]["t_s"])
