"""Brings what servers start from beside their model into a slot, and takes it away with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from environments.errors import SluiceError
from environments.names import slot_labels
from reconciler.core.model.release import Release, kind_of_model
from reconciler.kubernetes.kinds import CONFIG_MAP
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.artifacts import Source
from reconciler.platforms.kubernetes.files import check_files, config_map
from reconciler.platforms.kubernetes.pod import CONTROL_VARIABLE, REPOSITORY, model_path
from reconciler.platforms.kubernetes.reading import KubeClient
from reconciler.ports import Files, PlannedFiles, PlansFiles, Runtime, SlotAddress


class SlotFiles:
    """The ConfigMaps of slots. `models` finds the files of models, which tell what is laid out beside them."""

    def __init__(self, client: KubeClient, models: Files | None) -> None:
        self._client, self._models = client, models

    async def planned(
        self, release: Release, sources: Mapping[str, Source], runtime: Runtime, *, where: str
    ) -> PlannedFiles | None:
        """Return what a release's servers start from beside its model, None where that is nothing.

        Raises:
            SluiceError: `PLAT-023` nobody here can read the model, `PLAT-032` it is too large; what the runtime says.
        """
        if not isinstance(runtime, PlansFiles):
            return None
        if self._models is None:
            raise SluiceError(
                "PLAT-023",
                where=where,
                what=f"what servers of the runtime {release.runtime} start from cannot be laid out",
                why="it is made of the names of the model's files, and nobody here can read those",
                do="plan from where the model's registry can be reached",
            )
        source = await self._models.folder(release.model, kind=kind_of_model(release.runtime))
        found = await asyncio.to_thread(
            runtime.plan_files,
            release,
            source=source,
            model_path=model_path("model", sources["model"]),
            root=REPOSITORY,
            control=f"$({CONTROL_VARIABLE})",
        )
        check_files(where, found)
        return found

    async def bring(self, slot: SlotAddress, namespace: str, files: PlannedFiles | None, *, fence: int) -> None:
        """Make a slot's ConfigMap; do nothing but take it over where it is there, for it never changes."""
        if files is not None:
            await self._client.apply(config_map(slot, namespace, files, fence=fence), kind=CONFIG_MAP)

    async def tidy(self, slot: SlotAddress, namespace: str, *, keep: str = "") -> None:
        """Delete a slot's ConfigMaps but one, in the version that was read: whoever came since keeps its own.

        Raises:
            SluiceError: `KUBE-010` one of them was changed meanwhile.
        """
        labels = ",".join(f"{k}={v}" for k, v in sorted(slot_labels(slot.address.endpoint, slot.slot).items()))
        for body in await self._client.list(CONFIG_MAP, namespace, labels=labels):
            metadata = body["metadata"]
            if metadata["name"] != keep and marks.ours(body):
                await self._client.delete(
                    CONFIG_MAP,
                    metadata["name"],
                    namespace=namespace,
                    uid=metadata["uid"],
                    resource_version=metadata["resourceVersion"],
                )
