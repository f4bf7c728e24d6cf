"""What regions say, before anything is done, of the releases that a plan would start in them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from reconciler.core.model.finding import Finding
from reconciler.core.model.release import Release
from reconciler.core.plan.change import Change
from reconciler.ports import ForeseesStarts, Remark
from reconciler.ports.adapters import RegionReader


def spreading(readers: Mapping[str, RegionReader], moving: Sequence[tuple[Change, Release]]) -> list[Finding]:
    """Return how fast the prompts of releases reach applications, where that is not at once."""
    found = []
    for change, release in moving:
        reader = readers.get(change.address.region)
        words = reader.pointers.spread(change.address.endpoint) if reader and release.prompts else None
        if words:
            found.append(Finding("PTR-004", "info", str(change.address), f"prompts are published in {words}"))
    return found


async def foreseen(readers: Mapping[str, RegionReader], moving: Sequence[tuple[Change, Release]]) -> list[Finding]:
    """Return the regions' remarks as findings; a region that foresees nothing has none.

    Raises:
        SluiceError: a region cannot be read.
    """
    asked = [
        (change, reader.reader.foresee(change.address, release))
        for change, release in moving
        if (reader := readers.get(change.address.region)) and isinstance(reader.reader, ForeseesStarts)
    ]
    answers: list[tuple[Remark, ...]] = await asyncio.gather(*(answer for _, answer in asked))
    return [
        Finding(remark.code, remark.level, str(change.address), remark.message)
        for (change, _), remarks in zip(asked, answers, strict=True)
        for remark in remarks
    ]
