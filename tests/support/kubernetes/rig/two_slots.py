"""An endpoint whose slots both serve, and the product's own platform over it, as a command composes it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest import mock

from environments.names import Address
from reconciler.core.model.release import Artifact, Release
from reconciler.platforms.kubernetes.platform import KubernetesPlatform
from reconciler.ports import SlotAddress, finished
from reconciler.ports.adapters import Region
from tests.support.kubernetes.rig.rig import Rig
from tests.support.kubernetes.rig.stage import ENVIRONMENT, REGION, Stage, declared

FENCE = 100


class TwoSlots:
    """Slot a runs v1 and has all the traffic, slot b runs v2; `one` and `two` are what clients know them by."""

    def __init__(self, stage: Stage, region: Region) -> None:
        assert isinstance(region.writer, KubernetesPlatform)
        self.stage, self.region, self.platform = stage, region, region.writer
        self.address = Address(ENVIRONMENT, REGION, stage.endpoint)
        self.one, self.two = stage.model("v1"), stage.model("v2")

    def slot(self, name: str) -> SlotAddress:
        """Return the address of a slot."""
        return SlotAddress(self.address, name)

    async def weigh(self, a: float, b: float) -> None:
        """Put weights in force."""
        await finished(self.platform.weigh, self.address, {"a": a, "b": b}, fence=FENCE)

    async def fill(self) -> None:
        """Start v2 in slot b and wait until its servers answer."""
        release = Release(self.stage.endpoint, "vllm", Artifact("file:models/v2", f"sha256:{self.two}"))
        await finished(self.platform.start, self.slot("b"), release, fence=FENCE, replicas=2)
        await asyncio.to_thread(self.stage.until, "both servers of b", lambda: self.stage.ready("b") == 2)


def stage_of(rig: Rig, folder: Path, endpoint: str, **rollout: Any) -> Stage:
    """Return a user's folder of one endpoint, of a team with the same name, which serves the model v1."""
    stage = Stage(rig, folder, declared({endpoint: endpoint}, **rollout))
    stage.declare("v1")
    stage.run("apply", ENVIRONMENT, "--yes")
    return stage


@contextlib.asynccontextmanager
async def two_slots(rig: Rig, folder: Path, endpoint: str) -> AsyncIterator[TwoSlots]:
    """Give an endpoint with two slots that serve."""
    stage = await asyncio.to_thread(stage_of, rig, folder, endpoint)
    with mock.patch.dict(os.environ, {"KUBECONFIG": str(rig.plane.kubeconfig)}):
        composed = stage.compose()
        found = TwoSlots(stage, composed.regions[REGION])
        try:
            await found.fill()
            yield found
        finally:
            await composed.close()
