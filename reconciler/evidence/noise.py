"""The noise of an endpoint, as `sluice judge learn` measured it: kept in the ledger, used by `noise: learned`."""

from __future__ import annotations

from dataclasses import replace

from environments.names import Address
from reconciler.core.canonical import Json
from reconciler.core.events import NOISE
from reconciler.core.model.rollout import Rollout
from reconciler.ports import Store


async def learned_noise(store: Store, environment: str, endpoint: str) -> float | None:
    """Return the noise to reckon with by the newest measurement, a log standard deviation; None without one."""
    for entry in await store.newest(environment, NOISE):
        if entry.address == str(Address.everywhere(environment, endpoint)):
            return float(entry.body["assumed"])
    return None


async def with_learned_noise(store: Store, rollout: Rollout) -> Rollout:
    """Return the rollout with `noise: learned` replaced by the number, or left out (the default) when there is none."""
    judge: Json = {**rollout.settings.judge}
    if judge.get("noise") != "learned":
        return rollout
    found = await learned_noise(store, rollout.environment, rollout.endpoint)
    judge.pop("noise")
    if found is not None:
        judge["noise"] = found
    return replace(rollout, settings=replace(rollout.settings, judge=judge))
