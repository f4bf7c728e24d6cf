"""A whole reconciler in memory: fake regions, a real SQLite store, traffic every second of virtual time.

Scenario tests run rollouts over it; `crash_at` makes the process die at the n-th write to store or platform.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environments.names import Address
from reconciler.core.model.desired import DesiredEndpoint
from reconciler.core.model.release import Release
from reconciler.core.model.rollout import Rollout
from reconciler.core.model.settings import RolloutSettings
from reconciler.core.model.tokens import Tokens
from reconciler.core.rollout.begin import empty_endpoint, new_rollout
from reconciler.engine.journal import Record
from reconciler.engine.lease import held
from reconciler.engine.loop import Loop, Snapshot
from reconciler.planning.observe import observe
from reconciler.pointers.flagd import FlagdPointers
from reconciler.ports import GateContext, GateEvidence, SlotCounts, Store, finished
from reconciler.ports.adapters import Adapters, Region
from reconciler.store.connect import open_store
from tests.support.builders.releases import ENVIRONMENT
from tests.support.fakes.platform import Call, FakePlatform
from tests.support.fakes.runtime import FakeRuntime

TURNS_MAX = 20_000
PROMPT_TOKENS = 50
BOUNDS = ("0.02", "0.04", "0.06", "0.08", "0.1", "0.25", "0.5", "+Inf")


class Died(BaseException):
    """The process was killed here; nothing after this line happened."""


class NoRegistry:
    """A registry that remembers what was marked."""

    def __init__(self) -> None:
        self.marked: list[str] = []

    async def resolve(self, ref: Any, *, kind: str) -> Any:
        raise AssertionError("scenarios bring resolved releases")

    async def mark(self, ref: Any, alias: str, *, kind: str) -> str | None:
        self.marked.append(str(ref))
        return None


@dataclass
class FakeGate:
    """A gate that answers what it is told to."""

    verdict: str = "PASS"
    asked: int = 0

    def check(self, settings: Mapping[str, Any], root: Path) -> None:
        """Refuse nothing."""

    def digest(self, settings: Mapping[str, Any], root: Path) -> str:
        """Return a digest that never changes."""
        return "sha256:gate"

    def remarks_without_champion(self, settings: Mapping[str, Any], root: Path) -> tuple[str, ...]:
        """Return nothing: it passes a first deployment."""
        return ()

    async def evidence(self, context: GateContext) -> GateEvidence:
        self.asked += 1
        return GateEvidence("eval", self.verdict, f"said {self.verdict}")


class MortalStore:
    """A store whose process dies before or after its n-th write."""

    def __init__(self, store: Store, bench: LoopWorld) -> None:
        self._store, self._bench = store, bench

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in ("append", "save_rollout", "create_rollout", "add_tick"):
            return found if not callable(found) else self._of_the_living(found)

        async def mortal(*args: Any, **kwargs: Any) -> Any:
            self._bench.live_or_die(f"{name} before")
            answer = await found(*args, **kwargs)
            self._bench.live_or_die(f"{name} after")
            return answer

        return mortal

    def _of_the_living(self, found: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._bench.live_or_die("", counts=False)
            return found(*args, **kwargs)

        return call


@dataclass
class LoopWorld:
    """The world of one scenario. `arms` maps a model's word to its error share and latency in seconds.

    `rejects` maps a model's word to the share of requests that it answers with a 4xx, `lengths` to the tokens of its
    answers; the servers of a word without a length count no tokens.
    """

    home: Path
    regions: tuple[str, ...] = ("local",)
    requests_a_second: int = 100
    arms: dict[str, tuple[float, float]] = field(default_factory=dict)
    rejects: dict[str, float] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    platform: type[FakePlatform] = FakePlatform
    crash_at: int | None = None
    began: float = 1_000_000.0
    waited: float = 0.0
    dead: bool = False
    writes: int = 0
    trail: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = asyncio.get_running_loop().time
        self.platforms = {r: self.platform(ENVIRONMENT, r, now=lambda: self.now) for r in self.regions}
        self.runtime = FakeRuntime(*self.platforms.values())
        self.registry = NoRegistry()
        self.gate = FakeGate()
        self.store: Store = open_store(
            "sqlite:///store.db", home=self.home / ".sluice", root=self.home, clock=lambda: self.now
        )
        self.weights_seen: list[Mapping[str, float]] = []
        for platform in self.platforms.values():
            platform.flow = self._flow
            platform.before = self._before
            platform.after = self._after

    @property
    def now(self) -> float:
        """Return the time in epoch seconds; the store asks for it from its threads."""
        with contextlib.suppress(RuntimeError):
            self.clock = asyncio.get_running_loop().time
        return self.began + self.waited + self.clock()

    def live_or_die(self, what: str, *, counts: bool = True) -> None:
        """Count one point of possible death, and die there when it is its turn. A dead process does nothing more."""
        if counts and not self.dead:
            self.writes += 1
            self.trail.append(what)
            self.dead = self.crash_at == self.writes
        if self.dead:
            raise Died(what)

    async def _before(self, call: Call) -> None:
        self.live_or_die(f"{call.verb} before")

    async def _after(self, call: Call) -> None:
        self.live_or_die(f"{call.verb} after")
        for platform in self.platforms.values():
            for found in platform.endpoints.values():
                self.weights_seen.append(dict(found.weights))

    def adapters(self) -> Adapters:
        """Return what a loop works with; every write may be its last."""
        regions = {
            name: Region(name, platform, FlagdPointers(self.home / name), platform, {"vllm": self.runtime})
            for name, platform in self.platforms.items()
        }
        store: Any = MortalStore(self.store, self)
        home = str(self.home)
        return Adapters(store, self.registry, regions, {"eval": self.gate}, lambda: self.now, home, home)

    async def serve(self, release: Release, *, slot: str = "a", replicas: int = 1) -> None:
        """Put a champion in place, as an earlier rollout would have left it."""
        crash, self.crash_at = self.crash_at, None
        for name, platform in self.platforms.items():
            from reconciler.ports import DrawnRelease, ReleaseSplit, SlotAddress

            address = Address(ENVIRONMENT, name, release.endpoint)
            await finished(platform.start, SlotAddress(address, slot), release, fence=0, replicas=replicas)
            await platform.mark_warm(SlotAddress(address, slot), fence=0)
            await finished(platform.weigh, address, {"a": 0.0, "b": 0.0} | {slot: 100.0}, fence=0)
            drawn = DrawnRelease(release.id, 100.0, release.prompt_texts)
            split = ReleaseSplit(release.endpoint, (drawn,), "seed") if release.prompts else None
            await FlagdPointers(self.home / name).publish(release.endpoint, split, fence=0)
        self.crash_at, self.writes, self.trail = crash, 0, []

    async def begin(self, challenger: Release, settings: RolloutSettings) -> Rollout:
        """Return a new rollout of `challenger` in all regions, one wave each, not stored yet."""
        adapters = self.adapters()
        seen = (await observe(adapters.regions.values(), [challenger.endpoint])).endpoints
        wanted = [
            DesiredEndpoint(Address(ENVIRONMENT, r, challenger.endpoint), w, challenger, settings, "t", None, 0)
            for w, r in enumerate(self.regions)
        ]
        live = {d.address: seen.get(d.address, empty_endpoint(d.address)) for d in wanted}
        return new_rollout("r1", wanted, live, now=self.now, actor="test")

    async def run(self, rollout: Rollout, *, owner: str = "one", meddle: Any = None) -> Rollout:
        """Drive a rollout as one process would: with a lease of its own, from what the store holds."""
        adapters = self.adapters()
        turns = 0

        def turn(snapshot: Snapshot) -> None:
            nonlocal turns
            turns += 1
            assert turns < TURNS_MAX, snapshot.rollout
            if meddle:
                meddle(snapshot)

        async with (
            self.traffic(),
            held(adapters.store, f"{ENVIRONMENT}/{rollout.endpoint}", owner, adapters.clock) as lease,
        ):
            if await adapters.store.rollout(rollout.id) is None:
                record = await Record.create(adapters.store, rollout, lease, adapters.clock)
            else:
                record = await Record.open(adapters.store, rollout, lease, adapters.clock)
            self.loop = Loop(adapters, record, turn)
            return await self.loop.run()

    @contextlib.asynccontextmanager
    async def traffic(self) -> AsyncIterator[None]:
        """Send every second's requests while the block runs."""

        async def flow() -> None:
            while True:
                await asyncio.sleep(1.0)
                for platform in self.platforms.values():
                    platform.tick()

        flowing = asyncio.create_task(flow())
        try:
            yield
        finally:
            flowing.cancel()
            await asyncio.gather(flowing, return_exceptions=True)

    def die_and_forget(self) -> None:
        """Let enough time pass for the dead owner's lease to run out."""
        self.crash_at, self.dead = None, False
        self.waited += 60

    def _flow(
        self, address: Address, weights: Mapping[str, float], releases: Mapping[str, str | None]
    ) -> Mapping[str, SlotCounts]:
        added = {}
        for slot, weight in weights.items():
            held = self.platforms[address.region].endpoints[address.endpoint].slots.get(slot)
            if held is None or weight == 0:
                continue
            word = held.release.model.ref.rpartition("/")[2]
            bad_share, latency_s = self.arms.get(word, (0.0, 0.05))
            requests = round(self.requests_a_second * weight / 100)
            errors = round(requests * bad_share)
            rejected = round(requests * self.rejects.get(word, 0.0))
            served = requests - errors - rejected
            spread = {le: float(sum(_latency(i, latency_s) <= float(le) for i in range(served))) for le in BOUNDS}
            length = self.lengths.get(word)
            tokens = Tokens(served, served * PROMPT_TOKENS, served * length) if length else None
            added[slot] = SlotCounts(requests, errors, rejected, ttft_s=spread, itl_s=spread, tokens=tokens)
        return added


def _latency(number: int, mean_s: float) -> float:
    """Return the latency of the n-th request of a tick: spread evenly over ±50 % of the mean, the same every tick."""
    return mean_s * (0.5 + (number * 0.618034) % 1.0)
