"""Judge fixed thresholds on metrics without a concurrent baseline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.core.counts import Counts
from reconciler.core.rollout import Rollout
from reconciler.core.verdict import Verdict
from reconciler.figures import traffic_sample
from reconciler.ports import MetricSource, Sample
from reconciler.region import Region

TRAFFIC = "traffic"
Judged = tuple[Verdict, str]


async def judge_limits(rollout: Rollout, region: Region, challenger: Counts, *, window_s: float) -> list[Judged]:
    """Return a verdict and a sentence for each limit; no data is INCONCLUSIVE, a source that fails is ERROR.

    `challenger` is what it counted since its step began: limits on the traffic itself are judged on that, all others
    ask their source about the last `window_s` seconds.
    """
    variables = {"release": rollout.challenger.id, "endpoint": rollout.endpoint, "region": region.name}
    settings = rollout.settings

    async def judged(limit: Json) -> Judged:
        if limit["source"] == TRAFFIC:
            return judge_limit(limit, traffic_sample(limit["query"], challenger, settings.token_prices))
        return await _asked(limit, region.metrics, variables, window_s)

    return list(await asyncio.gather(*(judged(limit) for limit in settings.limits)))


async def _asked(
    limit: Json, sources: Mapping[str, MetricSource], variables: Mapping[str, str], window_s: float
) -> Judged:
    source = sources.get(limit["source"])
    if source is None:
        return Verdict.ERROR, f"{limit['name']}: the region names no {limit['source']} to read it from"
    try:
        sample = await source.read(limit["query"], variables, max(window_s, 1.0))
    except SluiceError as error:
        return Verdict.ERROR, f"{limit['name']}: {error.problem.what}"
    return judge_limit(limit, sample)


def judge_limit(limit: Json, sample: Sample | None) -> Judged:
    """Return the verdict on one sample: outside the threshold FAIL, too few observations INCONCLUSIVE."""
    name, needed = limit["name"], limit.get("samples_min", 1)
    if sample is None or sample.samples < needed:
        return Verdict.INCONCLUSIVE, f"{name} has {sample.samples if sample else 0} samples; the limit needs {needed}"
    said = f"{name} is {sample.value:g} {sample.unit}".rstrip()
    low, high = limit.get("min"), limit.get("max")
    if low is not None and sample.value < low:
        return Verdict.FAIL, f"{said}, below its limit {low:g} ({sample.samples} samples)"
    if high is not None and sample.value > high:
        return Verdict.FAIL, f"{said}, above its limit {high:g} ({sample.samples} samples)"
    return Verdict.PASS, said
