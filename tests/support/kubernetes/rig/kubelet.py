"""Acts for the kubelets of all fake machines: gives pods addresses, serves for them, and lets them drain and go.

`python -m tests.support.kubernetes.rig.kubelet KUBECONFIG MODELS HURRY`, in the pods' network. `HURRY` shortens the
pause before a pod's end to so many seconds at most. Containers, images, probes and restarts are not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import yaml

from environments.names import SLOT_PORT
from reconciler.kubernetes.client import KubeClient, open_client
from reconciler.kubernetes.kinds import POD
from tests.support.kubernetes.api import Api, ApiError, Body, Cluster
from tests.support.kubernetes.rig.pods import Doors, Server, serves_a_model, status_of

_LOOK_S = 0.1
_TRY_AGAIN_S = 0.2
_FIRST = 10
_PER_BLOCK = 240


class Kubelet:
    """Runs every pod that the scheduler has put on a machine."""

    def __init__(self, client: KubeClient, api: Api, models: Path, hurry_s: float) -> None:
        self._client, self._api = client, api
        self._models, self._hurry_s = models, hurry_s
        self._doors = Doors()
        self._addresses = _addresses()
        self._now: dict[str, Body] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        """Serve until killed; a life that ends by a defect ends everything, for a test must not wait for it."""
        await asyncio.start_server(self._doors.accept, "0.0.0.0", SLOT_PORT, backlog=1024)
        view = self._client.view(POD)
        await view.synced(60.0)
        print("ready", flush=True)
        while True:
            since = view.changes
            self._look({body["metadata"]["uid"]: body for body in view.items.values()})
            await view.changed(since, 1.0)

    def _look(self, pods: dict[str, Body]) -> None:
        self._now = pods
        for uid, task in list(self._lives.items()):
            if task.done():
                task.result()
                if uid not in pods:
                    del self._lives[uid], self._leaving[uid]
        for uid, pod in pods.items():
            if uid not in self._lives and pod["spec"].get("nodeName"):
                self._leaving[uid] = asyncio.Event()
                self._lives[uid] = asyncio.create_task(self._live(pod, self._leaving[uid]))
        for uid, leaving in self._leaving.items():
            if uid not in pods or "deletionTimestamp" in pods[uid]["metadata"]:
                leaving.set()

    async def _live(self, pod: Body, leaving: asyncio.Event) -> None:
        address = next(self._addresses)
        if serves_a_model(pod):
            await self._serve(pod, address, leaving)
        else:  # whatever it is, it is there at once
            await self._tell(pod, address, ready=True, started=True)
            await leaving.wait()
        await self._patiently(self._api.finish, pod)

    async def _serve(self, pod: Body, address: str, leaving: asyncio.Event) -> None:
        """Start, answer and drain, in the order in which a kubelet and vLLM do."""
        server = Server(pod, self._models)
        await self._tell(pod, address, ready=False, started=False)
        await _within(leaving, server.double.faults.start_s)
        self._doors.open(address, server.double)
        told: bool | None = None
        while not await _within(leaving, _LOOK_S):
            server.refresh()
            if server.ready is not told:
                told = server.ready
                await self._tell(pod, address, ready=told, started=True)
        await asyncio.sleep(min(server.prestop_s, self._hurry_s))
        self._doors.close(address)
        await server.double.finish()

    async def _tell(self, pod: Body, address: str, *, ready: bool, started: bool) -> None:
        known = self._now.get(pod["metadata"]["uid"], pod)
        metadata = {key: pod["metadata"][key] for key in ("name", "namespace", "uid")}
        status = status_of(known, address, ready=ready, started=started)
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}
        await self._patiently(lambda told: self._api.apply(told, manager="kubelet", status=True), body)

    async def _patiently(self, call: Callable[[Body], object], body: Body) -> None:
        """Call the API server beside the traffic, again when it is away; what is gone needs nothing more."""
        while True:
            try:
                await asyncio.to_thread(call, body)
            except ApiError as error:
                if error.code in (404, 409):
                    return
                if error.code < 500:
                    raise
            except httpx.TransportError as error:
                print(f"the API server is away: {error}", flush=True)
            else:
                return
            await asyncio.sleep(_TRY_AGAIN_S)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event for some time; return whether it has happened."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


def _addresses() -> Iterator[str]:
    """Yield addresses that no pod had before, so that nothing is taken for its predecessor."""
    for number in itertools.count():
        yield f"10.244.{1 + number // _PER_BLOCK}.{_FIRST + number % _PER_BLOCK}"


def _cluster(kubeconfig: Path) -> Cluster:
    content = yaml.safe_load(kubeconfig.read_text())
    there, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    return Cluster(there["server"], user["token"], there["certificate-authority"])


async def main(kubeconfig: Path, models: Path, hurry_s: float) -> None:
    """Run until killed."""
    os.environ["KUBECONFIG"] = str(kubeconfig)
    client = open_client(None, region="the pods' network")
    await Kubelet(client, Api(_cluster(kubeconfig)), models, hurry_s).run()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
