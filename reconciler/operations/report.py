"""Gather what there is to tell of one rollout: its story in the ledger, its evidence, its approvals, and the proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.core.events import APPROVED
from reconciler.core.model.rollout import Rollout, rollout_from_json
from reconciler.operations.anchor import Checked
from reconciler.ports import Entry, Store


@dataclass(frozen=True)
class Story:
    """One rollout. `ticks` are the judge's by region; `approval` is the ledger's entry, None where nobody was asked."""

    rollout: Rollout
    entries: tuple[Entry, ...]
    ticks: tuple[tuple[str, tuple[Json, ...]], ...]
    approval: Entry | None
    proof: Checked


async def story(store: Store, environment: str, rollout: str | None, proof: Checked) -> Story:
    """Return the story of a rollout; of the newest one without an id.

    Raises:
        SluiceError: `STORE-004` there is none.
    """
    found = await store.rollout(rollout) if rollout else next(iter(await store.rollouts(environment, limit=1)), None)
    if found is None or found.environment != environment:
        raise SluiceError(
            "STORE-004",
            where=environment,
            what=f"there is no rollout {rollout}" if rollout else "there was no rollout yet",
            do=f"sluice history {environment}",
        )
    told = rollout_from_json(found.body)
    entries = [entry async for entry in store.entries(environment)]
    mine = tuple(entry for entry in entries if entry.rollout == told.id)
    ticks = [(r.region, tuple(t["tick"] for t in await store.ticks(told.id, r.region))) for r in told.regions]
    return Story(told, mine, tuple(ticks), _approval(entries, mine, told.endpoint), proof)


def _approval(entries: Sequence[Entry], mine: Sequence[Entry], endpoint: str) -> Entry | None:
    """Return the approval that stands before the rollout's beginning and behind whatever began before it."""
    first = mine[0].seq if mine else 0
    before = [e for e in entries if e.seq < first and e.address.split("/")[-1] == endpoint]
    last = next((e for e in reversed(before) if e.kind in (APPROVED, "begin")), None)
    return last if last and last.kind == APPROVED else None
