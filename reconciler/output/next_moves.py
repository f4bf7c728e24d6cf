"""What an operator can do next with a rollout that waits for one: the commands, spelled out. Pure."""

from __future__ import annotations

from reconciler.core.model.rollout import Phase, Rollout


def next_moves(rollout: Rollout) -> tuple[str, ...]:
    """Return the lines that say how to go on and how to go back; none unless a person has to decide."""
    if rollout.phase is not Phase.PAUSED or rollout.falling_back:
        return ()
    ask = f"{rollout.environment} --endpoint {rollout.endpoint} --reason WHY"
    return (
        f"  go on:   sluice resume {ask}",
        f"  go back: sluice abort {ask}",
        f"  past gates and judge: sluice promote {ask}",
    )
