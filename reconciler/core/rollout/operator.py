"""What a person may ask of a rollout: pause, resume, abort, promote. Pure; refused when it is too late for it."""

from __future__ import annotations

from dataclasses import replace

from environments.errors import SluiceError
from reconciler.core.model.rollout import FORWARD, Intent, Phase, Rollout
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.after import overall


def paused(rollout: Rollout, reason: str) -> Rollout:
    """Return the rollout with a person's wish to pause it.

    Raises:
        SluiceError: `ROLL-006` it is going back already.
    """
    _refuse_going_back(rollout, "paused")
    return replace(rollout, intent=Intent.PAUSE, reason=reason)


def aborted(rollout: Rollout, reason: str) -> Rollout:
    """Return the rollout with the wish to roll it back. The first reason stays, and nothing takes an abort back."""
    if rollout.intent is Intent.ABORT:
        return rollout
    return replace(rollout, intent=Intent.ABORT, reason=reason)


def promoted_by_hand(rollout: Rollout, reason: str, now: float) -> Rollout:
    """Return the rollout with a person's wish to promote it past gates, judge and bake.

    Raises:
        SluiceError: `ROLL-006` it is going back already.
    """
    return replace(resumed(rollout, now), intent=Intent.PROMOTE, reason=reason)


def resumed(rollout: Rollout, now: float) -> Rollout:
    """Return a paused rollout set going again: its step gets its full time, gates without a PASS are asked again.

    Raises:
        SluiceError: `ROLL-006` it is going back already.
    """
    _refuse_going_back(rollout, "set going again")
    regions = tuple(
        replace(
            r,
            since=now,
            unready_since=None,
            displaced_since=None,
            unreadable_since=None,
            champion_unready_since=None,
            gates=tuple(g for g in r.gates if g.verdict is Verdict.PASS),
            verdict=None,
            reason="",
            trouble=None,
            efforts=0,
        )
        if r.phase in FORWARD
        else r
        for r in rollout.regions
    )
    moved = replace(rollout, regions=regions, intent=Intent.NONE, reason="")
    return replace(moved, phase=overall(moved))


def _refuse_going_back(rollout: Rollout, what: str) -> None:
    if not (rollout.falling_back or rollout.phase is Phase.ROLLING_BACK):
        return
    raise SluiceError(
        "ROLL-006",
        where=f"{rollout.environment}/*/{rollout.endpoint}",
        what=f"rollout {rollout.id} is being rolled back and cannot be {what}: {rollout.reason or 'it failed'}",
        why="a rollback is not stopped half way: the regions would serve different releases",
        do=f"wait for it (sluice status {rollout.environment} --watch), then apply again",
    )
