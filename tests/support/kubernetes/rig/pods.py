"""A pod's life without containers: its address, its status, and the server that answers there until it has drained."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from environments.names import ENDPOINT_LABEL
from tests.support.kubernetes.api import Body
from tests.support.servers.vllm.faults import FILE, Faults, read_faults
from tests.support.servers.vllm.options import parse_options
from tests.support.servers.vllm.server import Double

_NEVER = ("exit_on_start", "crash_mid_stream", "crash_after_requests", "crash_after_s")


class Server:
    """The server in one pod: the double, started with the very arguments that the pod gives vLLM.

    Its model is a folder under `models` that is called as the last part of the model's place is; faults in it are
    taken at once, by every server of that model.
    """

    def __init__(self, pod: Body, models: Path) -> None:
        (container,) = pod["spec"]["containers"]
        place, *rest = container["args"]
        self.model = place.rstrip("/").rpartition("/")[2]
        self._folder, self._place = models / self.model, place
        self._folder.mkdir(exist_ok=True)
        (self._folder / "weights").write_text(self.model)
        self._told = ""
        options = parse_options([str(self._folder), *rest])
        self.double = Double(options, self._faults(), f"{self.model}/{pod['metadata']['name']}")
        sleep = ((container.get("lifecycle") or {}).get("preStop") or {}).get("sleep") or {}
        self.prestop_s = float(sleep.get("seconds", 0))

    @property
    def ready(self) -> bool:
        """Return what the readiness probe would: whether the server lives and names what it was started with."""
        return not self.double.faults.never_ready and self.double.faults.wrong_model is None

    def refresh(self) -> None:
        """Take the faults of the model if they have changed."""
        if self._text() != self._told:
            self.double.take(self._faults())

    def _faults(self) -> Faults:
        self._told = self._text()
        found = read_faults(self._folder)
        if lethal := [name for name in _NEVER if getattr(found, name)]:
            raise ValueError(f"one process serves for all pods, so a fault cannot end it: {', '.join(lethal)}")
        return found if found.wrong_root else found.changed({"wrong_root": self._place})

    def _text(self) -> str:
        file = self._folder / FILE
        return file.read_text() if file.exists() else ""


def set_faults(models: Path, model: str, **faults: Any) -> None:
    """Write what is wrong with a model's servers, in place of what was."""
    folder = models / model
    folder.mkdir(exist_ok=True, parents=True)
    fresh = folder / f"{FILE}.new"
    fresh.write_text(json.dumps(faults))
    fresh.replace(folder / FILE)


def serves_a_model(pod: Body) -> bool:
    """Return whether a pod is a server of an endpoint."""
    return ENDPOINT_LABEL in (pod["metadata"].get("labels") or {})


def status_of(pod: Body, address: str, *, ready: bool, started: bool) -> Body:
    """Return the status of a running pod, as its kubelet writes it."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or ()}

    def condition(kind: str, holds: bool) -> Mapping[str, str]:
        known = before.get(kind, {})
        since = known.get("lastTransitionTime") if known.get("status") == str(holds) else None
        return {"type": kind, "status": str(holds), "lastTransitionTime": since or now}

    told = {"Initialized": True, "PodReadyToStartContainers": True, "ContainersReady": ready, "Ready": ready}
    running = {"running": {"startedAt": pod["metadata"]["creationTimestamp"]}}
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": container["image"],
            "restartCount": 0,
            "ready": ready,
            "started": started,
            "state": running,
        }
        for container in pod["spec"]["containers"]
    ]
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": pod["metadata"]["creationTimestamp"],
        "conditions": [condition(kind, holds) for kind, holds in told.items()],
        "containerStatuses": containers,
    }


class Doors:
    """One listening socket for all pods: a connection belongs to the pod whose address was called.

    Where no server listens the connection is reset, as by a machine on which nobody does.
    """

    def __init__(self) -> None:
        self._servers: dict[str, Double] = {}

    def open(self, address: str, server: Double) -> None:
        """Let a server answer at an address."""
        self._servers[address] = server

    def close(self, address: str) -> None:
        """Let nobody answer there any more; what is open stays."""
        self._servers.pop(address, None)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        found = self._servers.get(writer.get_extra_info("sockname")[0])
        if found is None:
            writer.transport.abort()
            return
        with contextlib.suppress(asyncio.CancelledError):
            await found.accept(reader, writer)
