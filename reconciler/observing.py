"""Read what is live in many regions at once: platforms and pointers together. Imports ports; never writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from environments.errors import SluiceError
from reconciler.core.observed import ObservedEndpoint, ObservedState
from reconciler.ports import PromptSplit
from reconciler.region import RegionReader


async def observe(regions: Iterable[RegionReader], endpoints: Sequence[str] | None = None) -> ObservedState:
    """Return the live state of all regions, read concurrently; an unreachable region is named with its reason."""
    listed = list(regions)
    answers = await asyncio.gather(*(_region(r, endpoints) for r in listed), return_exceptions=True)
    found, unreachable = {}, {}
    for region, answer in zip(listed, answers, strict=True):
        if isinstance(answer, SluiceError):
            unreachable[region.name] = answer.problem.what
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found.update({e.address: e for e in answer})
    return ObservedState(found, unreachable)


async def _region(region: RegionReader, endpoints: Sequence[str] | None) -> list[ObservedEndpoint]:
    seen, splits = await asyncio.gather(region.reader.observe(endpoints), region.pointers.read())
    return [replace(e, prompts=_prompts(e.address.endpoint, splits)) for e in seen]


def _prompts(endpoint: str, splits: Sequence[PromptSplit]) -> dict[str, tuple[tuple[str, float], ...]]:
    return {
        split.prompt: tuple((release, share) for release, _, share in split.variants)
        for split in splits
        if split.endpoint == endpoint
    }
