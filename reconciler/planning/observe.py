"""Read what is live in many regions at once: platforms and pointers together; never writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from environments.errors import SluiceError
from reconciler.core.model.observed import ObservedEndpoint, ObservedState
from reconciler.ports import Pointers, ReleaseSplit, read_all
from reconciler.ports.adapters import RegionReader

Shares = dict[str, tuple[tuple[str, float], ...]]
"""Prompt name → the releases that its users are drawn from, with their shares in percent."""


async def observe(regions: Iterable[RegionReader], endpoints: Sequence[str] | None = None) -> ObservedState:
    """Return the live state of all regions, read concurrently; an unreachable region is named with its reason."""
    listed = list(regions)
    answers = await asyncio.gather(*(_region(r, endpoints) for r in listed), return_exceptions=True)
    found, unreachable = {}, {}
    for region, answer in zip(listed, answers, strict=True):
        if isinstance(answer, SluiceError):
            unreachable[region.name] = _told(answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found.update({e.address: e for e in answer})
    return ObservedState(found, unreachable)


def _told(error: SluiceError) -> str:
    """Return why a region cannot be read, with the code behind it and what to do where the error says so."""
    problem = error.problem
    return f"{problem.what} ({problem.code}); {problem.do}" if problem.do else problem.what


async def _region(region: RegionReader, endpoints: Sequence[str] | None) -> list[ObservedEndpoint]:
    seen, (splits, problem) = await asyncio.gather(read_all(region.reader, endpoints), _published(region.pointers))
    return [
        replace(
            endpoint,
            prompts=_shares(endpoint.address.endpoint, splits),
            pointer_problem=problem,
            prompt_resolution_pct=region.pointers.resolution_pct,
        )
        for endpoint in seen
    ]


async def _published(pointers: Pointers) -> tuple[tuple[ReleaseSplit, ...], str | None]:
    """Return what is published, or nothing and why: a fault of pointers must not stand between anyone and a weight."""
    try:
        return await pointers.read(), None
    except SluiceError as error:
        return (), f"{error.problem.what}: {error.problem.why}"


def _shares(endpoint: str, splits: Sequence[ReleaseSplit]) -> Shares:
    found: Shares = {}
    for split in splits:
        if split.endpoint == endpoint:
            shares = tuple((drawn.release, drawn.share_pct) for drawn in split.releases)
            found |= dict.fromkeys(sorted({name for drawn in split.releases for name in drawn.prompts}), shares)
    return found
