"""Starts, scales, marks and empties slots: one workload each, of one release for as long as it lives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from environments.names import RELEASE_LABEL, SLOT_PORT, SLOTS, Address, slot_labels
from reconciler.core.model.observed import ServerState
from reconciler.core.model.release import Release
from reconciler.kubernetes import Body, Key, Kind
from reconciler.kubernetes.kinds import HTTP_ROUTE
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.artifacts import Source, source_of
from reconciler.platforms.kubernetes.borrowing import Borrowing
from reconciler.platforms.kubernetes.fences import Fences, Held
from reconciler.platforms.kubernetes.files import files_name
from reconciler.platforms.kubernetes.observed import leads
from reconciler.platforms.kubernetes.placement import GatewayRef, Placement
from reconciler.platforms.kubernetes.pod import Brought
from reconciler.platforms.kubernetes.pods import server_of, state_of
from reconciler.platforms.kubernetes.reading import KubeClient, Reading, at_least
from reconciler.platforms.kubernetes.refusals import (
    check_placement,
    foreign_replicas,
    nothing_runs,
    serving,
    stranger,
)
from reconciler.platforms.kubernetes.route import unseen, weights_of
from reconciler.platforms.kubernetes.scalers import Scaler
from reconciler.platforms.kubernetes.services import delete_service, ensure_service
from reconciler.platforms.kubernetes.slot_files import SlotFiles
from reconciler.platforms.kubernetes.workload import kind_of, replica_owners, workload
from reconciler.ports import Files, InProgress, Runtime, SlotAddress

_LAGS = InProgress("our own watch has not seen it yet")


class Slots:
    """Changes the slots of one region."""

    def __init__(
        self,
        client: KubeClient,
        reading: Reading,
        fences: Fences,
        gateway: GatewayRef,
        runtime_for: Callable[[str], Runtime],
        models: Files | None = None,
    ) -> None:
        self._client, self._reading, self._fences = client, reading, fences
        self._gateway, self._runtime_for = gateway, runtime_for
        self._files = SlotFiles(client, models)
        self._borrowing = Borrowing(client)
        self._version: tuple[int, int] | None = None

    async def start(
        self, slot: SlotAddress, release: Release, place: Placement, *, fence: int, replicas: int
    ) -> InProgress | None:
        """Run a release in a slot: what ran there before goes first, all of it."""
        check_placement(slot.address, place, await self._reading.controller())
        brought = await self.brought(slot.address, release, place)
        name = files_name(slot, brought.files) if brought.files else ""
        brought = replace(brought, files_name=name)
        options = self._runtime_for(release.runtime).options(
            release, paths=brought.paths(), host="0.0.0.0", port=SLOT_PORT
        )

        async def act(held: Held) -> InProgress | None:
            if _runs(held, slot, release):
                return None
            if waiting := await self._emptied(held, slot, but=release, keep=name):
                return waiting
            await self._files.bring(slot, place.namespace, brought.files, fence=held.fence)
            await ensure_service(self._client, slot, place)
            body = workload(slot, brought, options, place, replicas=replicas, fence=held.fence)
            kind = kind_of(place)
            made = (await self._client.apply(body, kind=kind)).body
            await self._take_back_if_late(slot, kind, made, held)
            return await self._shown(kind, made)

        return await self._fences.act(slot.address, place.namespace, fence, act)

    async def brought(self, address: Address, release: Release, place: Placement) -> Brought:
        """Return a release with the way in which each of its artifacts gets into a pod, and what lies beside them.

        Raises:
            SluiceError: `PLAT-023` one of them cannot, `PLAT-032`; what the runtime says of the model's files.
        """
        if self._version is None:
            self._version = await self._client.version()
        wanted = {"model": release.model} | {f"adapters.{n}": a for n, a in release.adapters.items()}
        sources: dict[str, Source] = {
            key: source_of(found, place, self._version, environment=address.environment, streams=key == "model")
            for key, found in wanted.items()
        }
        runtime = self._runtime_for(release.runtime)
        return Brought(release, sources, await self._files.planned(release, sources, runtime, where=str(address)))

    async def scale(self, slot: SlotAddress, namespace: str, replicas: int, *, fence: int) -> InProgress | None:
        """Give a slot so many servers; an autoscaler is borrowed for it, and nobody else is overruled."""

        async def act(held: Held) -> InProgress | None:
            found = held.workloads.get(slot.slot)
            if found is None or held.body(slot.slot) is None:
                raise nothing_runs(slot, f"the slot cannot be given {replicas} servers")
            kind, body = found
            have = int(body["spec"].get("replicas", 1))
            if have == replicas:
                return None
            owners = replica_owners(body)
            if scaler := await self._borrowing.scaler(slot.address.endpoint, slot.slot, namespace):
                if why := scaler.cannot(have, replicas):
                    raise foreign_replicas(slot, owners or (scaler.name,), have=have, wanted=replicas, why=why)
                waiting = await self._borrowing.hold(scaler, slot, replicas, held)
                if owners:
                    return waiting
            elif owners:
                raise foreign_replicas(slot, owners, have=have, wanted=replicas)
            metadata = body["metadata"]
            change = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"replicas": replicas}}
            return await self._shown(
                kind, await self._client.patch(kind, metadata["name"], change, namespace=namespace)
            )

        return await self._fences.act(slot.address, namespace, fence, act)

    async def mark_warm(self, slot: SlotAddress, namespace: str, *, fence: int) -> InProgress | None:
        """Note the servers that answer now; one that restarts is another."""

        async def act(held: Held) -> InProgress | None:
            release, found = held.release(slot.slot), held.workloads.get(slot.slot)
            names = await self._answering(held, slot, release) if release else []
            if found is None or not names:
                raise nothing_runs(slot, "the slot cannot be marked as warm")
            kind, body = found
            if marks.warm_servers(body) == frozenset(names):
                return None
            return await self._shown(kind, await self._fences.note(kind, body, {marks.WARM: " ".join(names)}))

        return await self._fences.act(slot.address, namespace, fence, act)

    async def scalers(self, endpoint: Address, namespace: str) -> dict[str, Scaler]:
        """Return the autoscalers of an endpoint's slots."""
        found = {slot: await self._borrowing.scaler(endpoint.endpoint, slot, namespace) for slot in SLOTS}
        return {slot: scaler for slot, scaler in found.items() if scaler is not None}

    async def give_back(self, endpoint: Address, namespace: str, *, fence: int) -> None:
        """Give back the autoscalers that a rollout has borrowed; do nothing where it has borrowed none."""

        async def act(held: Held) -> None:
            await self._borrowing.give_back(endpoint, namespace, held)

        await self._fences.act(endpoint, namespace, fence, act)

    async def stop(self, slot: SlotAddress, namespace: str, *, fence: int) -> InProgress | None:
        """Empty a slot, once the gateway has seen that it has no weight."""
        controller = await self._reading.controller()

        async def act(held: Held) -> InProgress | None:
            weight = weights_of(held.route, slot.address.endpoint)[slot.slot]
            if weight > 0:
                raise serving(slot, weight)
            if held.route and controller and (why := unseen(held.route, self._gateway, controller)):
                return InProgress(f"the slot's weight may still be in force: {why}")
            return await self._emptied(held, slot)

        return await self._fences.act(slot.address, namespace, fence, act)

    async def remove(self, endpoint: Address, namespace: str, *, fence: int) -> InProgress | None:
        """Delete an endpoint's route, and then what runs in its slots."""

        async def act(held: Held) -> InProgress | None:
            if held.route is not None and marks.ours(held.route):
                await self._delete(HTTP_ROUTE, held.route)
                held.route = None
            for slot in SLOTS:
                if waiting := await self._emptied(held, SlotAddress(endpoint, slot)):
                    return waiting
            for slot in SLOTS:
                await delete_service(self._client, SlotAddress(endpoint, slot), namespace)
            return None

        return await self._fences.act(endpoint, namespace, fence, act)

    async def _emptied(
        self, held: Held, slot: SlotAddress, *, but: Release | None = None, keep: str = ""
    ) -> InProgress | None:
        """Delete a slot's workload; None when no server is left, but those of the release `but`.

        Its files go last; `keep` is the name of those that may stay.
        """
        found = held.workloads.get(slot.slot)
        if found is not None:
            kind, body = found
            if not marks.ours(body):
                raise stranger(slot, kind.name, body["metadata"]["name"])
            if "deletionTimestamp" not in body["metadata"]:
                await self._delete(kind, body)
        labels = slot_labels(slot.address.endpoint, slot.slot)

        def leaving(pod: Body) -> bool:
            theirs = pod["metadata"].get("labels") or {}
            return labels.items() <= theirs.items() and (but is None or theirs.get(RELEASE_LABEL) != but.id)

        left = await self._reading.pods(held.namespace, leaving)
        if left:
            return InProgress(f"{len(left)} servers finish their requests and end")
        if found is not None and not await self._gone(*found):
            return InProgress("its workload is being deleted")
        await self._files.tidy(slot, held.namespace, keep=keep)
        return None

    async def _take_back_if_late(self, slot: SlotAddress, kind: Kind, made: Body, held: Held) -> None:
        """Delete a workload that was made while somebody with a newer token came.

        Raises:
            SluiceError: `LEASE-002`.
        """
        try:
            await self._fences.look(slot.address, held.namespace, held.fence)
        except Exception:
            metadata = made["metadata"]
            await self._client.delete(kind, metadata["name"], namespace=held.namespace, uid=metadata["uid"])
            raise

    async def _answering(self, held: Held, slot: SlotAddress, release: Release) -> list[str]:
        labels = slot_labels(slot.address.endpoint, slot.slot) | {RELEASE_LABEL: release.id}

        def answers(pod: Body) -> bool:
            ours = labels.items() <= (pod["metadata"].get("labels") or {}).items()
            return ours and leads(pod) and state_of(pod) is ServerState.READY

        return sorted(server_of(pod) for pod in await self._reading.pods(held.namespace, answers))

    async def _delete(self, kind: Kind, body: Body) -> None:
        """Delete the object that was read, in the version that was read, and wait until our own watch misses it."""
        metadata = body["metadata"]
        await self._client.delete(
            kind,
            metadata["name"],
            namespace=metadata["namespace"],
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
        )
        await self._gone(kind, body)

    async def _gone(self, kind: Kind, body: Body) -> bool:
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["name"])

        def holds(items: Mapping[Key, Body]) -> bool:
            return key not in items or items[key]["metadata"]["uid"] != metadata["uid"]

        return await self._reading.shown(kind, metadata["namespace"], holds)

    async def _shown(self, kind: Kind, written: Body) -> InProgress | None:
        metadata = written["metadata"]
        key = (metadata["namespace"], metadata["name"])
        shown = await self._reading.shown(kind, metadata["namespace"], lambda items: at_least(items.get(key), written))
        return None if shown else _LAGS


def _runs(held: Held, slot: SlotAddress, release: Release) -> bool:
    """Return whether a release runs in a slot already.

    Raises:
        SluiceError: `PLAT-003` the slot serves another one.
    """
    weight = weights_of(held.route, slot.address.endpoint)[slot.slot]
    there = held.release(slot.slot)
    known = there.id if there else _remembered(held, slot.slot)
    if weight > 0 and known != release.id:
        raise serving(slot, weight)
    return there is not None and held.body(slot.slot) is not None and there.id == release.id


def _remembered(held: Held, slot: str) -> str | None:
    """Return the id of the release that a route remembers of a slot whose workload is gone."""
    try:
        found = marks.release_of(marks.serving_texts(held.route).get(slot))
    except ValueError:
        return None
    return found.id if found else None
