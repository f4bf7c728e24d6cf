"""Judge fixed thresholds on metrics without a concurrent baseline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from environments.errors import SluiceError
from reconciler.core.model.counts import Counts
from reconciler.core.model.rollout import Rollout
from reconciler.core.model.settings import Limit
from reconciler.core.model.verdict import Verdict
from reconciler.evidence.traffic_metrics import traffic_sample
from reconciler.ports import MetricSource, Sample
from reconciler.ports.adapters import Region

if TYPE_CHECKING:
    from environments.spec import TrafficQuery

TRAFFIC = "traffic"
TIMEOUT_S = 30.0
LATE_S = 60.0  # from here on an old answer says nothing any more
_BRIEFLY_S = 0.1  # a source that answers at once is heard at once
Judged = tuple[Verdict, str]


class LimitWatch:
    """Judges the limits of one region; sources are asked in the background, so that a slow one delays nothing.

    The latest answer stands until the next, with its age; without one a limit is INCONCLUSIVE, and ERROR when its
    source is late. A new step asks anew: answers about the one before are dropped.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self._since_s: float | None = None
        self._answers: dict[str, tuple[Judged, float]] = {}
        self._asking: dict[str, asyncio.Task[Judged]] = {}
        self._asked_s: dict[str, float] = {}

    async def look(self, rollout: Rollout, challenger: Counts, *, since_s: float, now: float) -> list[Judged]:
        """Return a verdict and a sentence for each limit, and ask the sources that have answered again.

        `challenger` is what it counted since its step began at `since_s`: limits on the traffic itself are judged on
        that, all others ask their source about the time since then.
        """
        if since_s != self._since_s:
            await self.close()
            self._since_s = since_s
        for limit in rollout.settings.limits:
            if limit.source != TRAFFIC and limit.name not in self._asking:
                self._ask(limit, rollout, now)
        if self._asking:
            await asyncio.wait(self._asking.values(), timeout=_BRIEFLY_S)
        self._collect(now)
        return [self._judged(limit, challenger, rollout, now) for limit in rollout.settings.limits]

    async def close(self) -> None:
        """End what is being asked and forget what was answered."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        self._asking, self._answers, self._asked_s = {}, {}, {}

    def _ask(self, limit: Limit, rollout: Rollout, now: float) -> None:
        variables = {"release": rollout.challenger.id, "endpoint": rollout.endpoint, "region": self._region.name}
        window_s = now - (self._since_s or now)
        self._asked_s.setdefault(limit.name, now)
        self._asking[limit.name] = asyncio.create_task(_asked(limit, self._region.metrics, variables, window_s))

    def _collect(self, now: float) -> None:
        for name, task in [(name, task) for name, task in self._asking.items() if task.done()]:
            del self._asking[name]
            self._answers[name] = (task.result(), now)

    def _judged(self, limit: Limit, challenger: Counts, rollout: Rollout, now: float) -> Judged:
        name = limit.name
        if limit.source == TRAFFIC:
            query = cast("TrafficQuery", limit.query)  # the environment file lets no other through
            return judge_limit(limit, traffic_sample(query, challenger, rollout.settings.token_prices))
        (verdict, said), at_s = self._answers.get(
            name, ((Verdict.INCONCLUSIVE, f"{name}: {limit.source} has not answered yet"), self._asked_s[name])
        )
        age_s = now - at_s
        if age_s > LATE_S and verdict is not Verdict.FAIL:
            return Verdict.ERROR, f"{name}: no answer from {limit.source} for {age_s:.0f} s"
        return verdict, said + (f", {age_s:.0f} s ago" if age_s > 2 * rollout.settings.tick_s else "")


def judge_limit(limit: Limit, sample: Sample | None) -> Judged:
    """Return the verdict on one sample: outside the threshold FAIL, too few observations INCONCLUSIVE."""
    name, needed = limit.name, limit.samples_min
    if sample is None or sample.samples < needed:
        return Verdict.INCONCLUSIVE, f"{name} has {sample.samples if sample else 0} samples; the limit needs {needed}"
    said = f"{name} is {sample.value:g} {sample.unit}".rstrip()
    low, high = limit.min, limit.max
    if low is not None and sample.value < low:
        return Verdict.FAIL, f"{said}, below its limit {low:g} ({sample.samples} samples)"
    if high is not None and sample.value > high:
        return Verdict.FAIL, f"{said}, above its limit {high:g} ({sample.samples} samples)"
    return Verdict.PASS, said


async def _asked(
    limit: Limit, sources: Mapping[str, MetricSource], variables: Mapping[str, str], window_s: float
) -> Judged:
    source = sources.get(limit.source)
    if source is None:
        return Verdict.ERROR, f"{limit.name}: the region names no {limit.source} to read it from"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            sample = await source.read(limit.query, variables, max(window_s, 1.0))
    except SluiceError as error:
        return Verdict.ERROR, f"{limit.name}: {error.problem.what}"
    except TimeoutError:
        return Verdict.ERROR, f"{limit.name}: {limit.source} did not answer within {TIMEOUT_S:g} s"
    return judge_limit(limit, sample)
