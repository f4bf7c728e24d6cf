"""A fake region of the shape of a cluster: many servers a slot, slow verbs, integer weights, pages and a change feed.

It refuses, delays and repeats as a control plane does: a verb begins and is asked again, servers drain before they go,
capacity runs out, a cursor is forgotten. What one server does is `FakePlatform`'s matter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from environments.errors import SluiceError
from environments.names import SLOTS, Address
from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, Replica, ServerState
from reconciler.core.model.release import Release
from reconciler.ports import Changes, InProgress, SlotAddress, SlotCounts
from tests.support.fakes.platform import Call, FakeEndpoint, FakePlatform, FakeSlot, Fault, summed

RESOLUTION_PCT = 1.0
PAGE = 2
FEED_MAX = 12
DRAIN_S = 2.0


@dataclass
class Pod(FakeSlot):
    """One server. `leaves_at` is when it is gone, None while it stays."""

    name: str = ""
    leaves_at: float | None = None
    counts: SlotCounts = field(default_factory=lambda: SlotCounts(0, 0))


@dataclass
class FleetSlot(FakeSlot):
    """The servers of one slot."""

    wanted: int = 1
    pods: list[Pod] = field(default_factory=list)
    told: list[tuple[str, ServerState]] = field(default_factory=list)


class FleetPlatform(FakePlatform):
    """FakePlatform, KeepsReplicas and TellsChanges.

    `slow_s` is how long a verb is in progress, `room` how many servers the region has machines for; `reads` counts the
    endpoints that were read. `stuck` are verbs that never finish.
    """

    def __init__(self, environment: str, region: str, *, now: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__(environment, region, now=now)
        self.slow_s = 1.0
        self.room = 10_000
        self.reads = 0
        self.stuck: set[str] = set()
        self.peak = 0
        self._begun: dict[tuple[str, ...], float] = {}
        self._made = 0
        self._feed: list[str] = []
        self._forgotten = 0

    async def observe(self, endpoints: Sequence[str] | None = None) -> AsyncIterator[tuple[ObservedEndpoint, ...]]:
        """Yield what is in memory, two endpoints a page."""
        names = sorted(self.endpoints) if endpoints is None else sorted(endpoints)
        for begin in range(0, len(names), PAGE):
            self._refuse_unreachable()
            self.reads += len(names[begin : begin + PAGE])
            yield tuple(self._observed(name) for name in names[begin : begin + PAGE])
        self._refuse_unreachable()

    async def changes(self, since: str = "") -> Changes:
        """Return what changed since a cursor; a feed remembers the last dozen changes."""
        self._refuse_unreachable()
        self._settle_all()
        last = self._forgotten + len(self._feed)
        if not since or int(since) < self._forgotten:
            return Changes(str(last))
        return Changes(str(last), frozenset(self._feed[int(since) - self._forgotten :]))

    async def start(self, slot: SlotAddress, release: Release, *, fence: int, replicas: int = 1) -> InProgress | None:
        """Put servers of a release into a slot, after the time that the control plane takes."""
        call = Call("start", slot.address, slot.slot, release.id, fence=fence)
        held = self._fleet(slot)
        runs = held is not None and held.running and held.release.id == release.id
        if not runs and (waiting := self._slow(call)):
            return waiting
        await super().start(slot, release, fence=fence)
        if not runs:
            fleet = FleetSlot(release, self._now(), wanted=replicas)
            self.endpoints[slot.address.endpoint].slots[slot.slot] = fleet
            self._fill(slot.address.endpoint, fleet)
        return None

    async def scale(self, slot: SlotAddress, replicas: int, *, fence: int) -> InProgress | None:
        """Have a slot run so many servers."""
        call = Call("scale", slot.address, slot.slot, weights_pct={"replicas": replicas}, fence=fence)
        held = self._fleet(slot)
        if held is None:
            raise SluiceError("PLAT-003", where=str(slot), what="no server runs there")
        if held.wanted != replicas and (waiting := self._slow(call)):
            return waiting
        async with self._effect(call):
            held.wanted = replicas
            self._fill(slot.address.endpoint, held)
        return None

    async def mark_warm(self, slot: SlotAddress, *, fence: int) -> None:
        """Remember every server that runs now as warm."""
        await super().mark_warm(slot, fence=fence)
        held = self._fleet(slot)
        for pod in held.pods if held else ():
            pod.warm_generation = pod.generation
        self._tell(slot.address.endpoint)

    async def weigh(self, endpoint: Address, weights_pct: Mapping[str, float], *, fence: int) -> InProgress | None:
        """Set weights in whole percent."""
        found = self.endpoints.get(endpoint.endpoint, FakeEndpoint())
        self._check_weights(endpoint, found, weights_pct)
        whole = _whole(weights_pct)
        call = Call("weigh", endpoint, weights_pct=whole, fence=fence)
        if found.weights != dict.fromkeys(SLOTS, 0.0) | whole and (waiting := self._slow(call)):
            return waiting
        await super().weigh(endpoint, whole, fence=fence)
        self._tell(endpoint.endpoint)
        return None

    async def stop(self, slot: SlotAddress, *, fence: int) -> InProgress | None:
        """Empty a slot: its servers drain, and then they are gone."""
        held = self._fleet(slot)
        if held is not None:
            call = Call("stop", slot.address, slot.slot, fence=fence)
            self._refuse_late(call)
            if self.endpoints[slot.address.endpoint].weights[slot.slot] == 0:
                if "stop" in self.stuck:
                    return InProgress("requests in flight end")
                held.wanted = 0
                self._fill(slot.address.endpoint, held)
                if held.pods:
                    return InProgress(f"{len(held.pods)} servers end")
        await super().stop(slot, fence=fence)
        self._tell(slot.address.endpoint)
        return None

    async def remove(self, endpoint: Address, *, fence: int) -> InProgress | None:
        """Forget an endpoint, after the time that the control plane takes."""
        known = endpoint.endpoint in self.endpoints
        if known and (waiting := self._slow(Call("remove", endpoint, fence=fence))):
            return waiting
        await super().remove(endpoint, fence=fence)
        self._tell(endpoint.endpoint)
        return None

    def crash(self, endpoint: str, slot: str, count: int = 1) -> None:
        """Let servers of a slot die and be restarted."""
        for pod in self._pods(endpoint, slot)[:count]:
            pod.generation, pod.restarts, pod.started_at = pod.generation + 1, pod.restarts + 1, self._now()
            pod.counts = SlotCounts(0, 0, epoch=f"{pod.name}-{pod.generation}")
        self._tell(endpoint)

    def evict(self, endpoint: str, slot: str, count: int = 1) -> None:
        """Let machines go, as spot ones do: their servers are gone, and others come."""
        held = self.endpoints[endpoint].slots[slot]
        assert isinstance(held, FleetSlot)
        del held.pods[:count]
        self._fill(endpoint, held)

    def kill(self, endpoint: str, slot: str) -> None:
        """Let every server of a slot die for good."""
        super().kill(endpoint, slot)
        for pod in self._pods(endpoint, slot):
            pod.running = False
        self._tell(endpoint)

    def tick(self, endpoint: str | None = None) -> None:
        """Let a second pass: traffic flows, servers become ready and go."""
        self._settle_all()
        super().tick(endpoint)

    def servers(self, endpoint: str, slot: str) -> tuple[int, int]:
        """Return how many servers of a slot are ready, and how many there are."""
        seen = self._observed(endpoint).slots[slot]
        return seen.ready_count, len(seen.replicas)

    def counts(self, endpoint: str, slot: str, pod: str) -> SlotCounts:
        """Return what one server has counted."""
        return next(each.counts for each in self._pods(endpoint, slot) if each.name == pod)

    def _end(self, name: str, slot: str, counts: SlotCounts) -> None:
        super()._end(name, slot, counts)
        ready = [pod for pod in self._pods(name, slot) if self._state(pod) is ServerState.READY]
        if ready:  # whoever is next has all of this second's requests: the sum is what is looked at
            pod = ready[int(self._now()) % len(ready)]
            pod.counts = replace(summed(pod.counts, counts), epoch=f"{pod.name}-{pod.generation}")

    def _observed(self, name: str) -> ObservedEndpoint:
        for slot in self.endpoints[name].slots.values() if name in self.endpoints else ():
            if isinstance(slot, FleetSlot):
                self._fill(name, slot, tell=False)
        return replace(super()._observed(name), weight_resolution_pct=RESOLUTION_PCT)

    def _observed_slot(self, name: str, endpoint: FakeEndpoint, slot: str) -> ObservedSlot:
        held, weight = endpoint.slots.get(slot), endpoint.weights[slot]
        if not isinstance(held, FleetSlot):
            return ObservedSlot(weight_pct=weight)
        replicas = tuple(self._replica(name, slot, pod) for pod in held.pods)
        return ObservedSlot(held.release, replicas, held.wanted, weight, self.url(name, slot))

    def _replica(self, name: str, slot: str, pod: Pod) -> Replica:
        state = self._state(pod)
        reason = None if state is ServerState.READY else self.faults.get(pod.release.id, Fault()).problem
        warm = pod.running and pod.warm_generation == pod.generation
        new = pod.restarts == 0 and not warm and state is not ServerState.DEAD
        return Replica(pod.name, state, warm, pod.restarts, reason, f"{self.url(name, slot)}/{pod.name}", new)

    def _state(self, pod: Pod) -> ServerState:
        fault = self.faults.get(pod.release.id, Fault())
        if not pod.running:
            return ServerState.DEAD
        if pod.leaves_at is not None:
            return ServerState.STOPPING
        up = self._now() - pod.started_at >= fault.start_s
        if up and fault.wrong_model:
            return ServerState.WRONG_MODEL
        if up and not fault.never_ready:
            pod.ready_generation = pod.generation
            return ServerState.READY
        return ServerState.SILENT if pod.ready_generation == pod.generation else ServerState.STARTING

    def _fill(self, name: str, held: FleetSlot, *, tell: bool = True) -> None:
        """Bring a slot's servers to what is wanted, as far as there is room; those that leave drain first."""
        before = list(held.pods)
        now = self._now()
        held.pods = [pod for pod in held.pods if pod.leaves_at is None or pod.leaves_at > now]
        staying = [pod for pod in held.pods if pod.leaves_at is None]
        for pod in staying[held.wanted :]:
            pod.leaves_at = now + DRAIN_S
        taken = sum(len(s.pods) for e in self.endpoints.values() for s in e.slots.values() if isinstance(s, FleetSlot))
        for _ in range(min(held.wanted - len(staying), self.room - taken)):
            self._made += 1
            held.pods.append(Pod(held.release, now, name=f"pod-{self._made}"))
        total = sum(len(s.pods) for e in self.endpoints.values() for s in e.slots.values() if isinstance(s, FleetSlot))
        self.peak = max(self.peak, total)
        if tell or before != held.pods:
            self._tell(name)

    def _settle_all(self) -> None:
        """Tell of servers that have become ready or gone since anybody looked."""
        for name, endpoint in self.endpoints.items():
            for slot in endpoint.slots.values():
                if isinstance(slot, FleetSlot):
                    states = [(pod.name, self._state(pod)) for pod in slot.pods]
                    self._fill(name, slot, tell=False)
                    if slot.told != states:
                        slot.told = states
                        self._tell(name)

    def _slow(self, call: Call) -> InProgress | None:
        """Begin a verb, or look whether it has had its time."""
        self._refuse_late(call)
        key = (call.verb, str(call.address), call.slot, call.release, str(call.weights_pct))
        began = self._begun.setdefault(key, self._now())
        if call.verb in self.stuck or self._now() - began < self.slow_s:
            return InProgress(f"the control plane is at work on {call.verb}")
        del self._begun[key]
        return None

    def _refuse_late(self, call: Call) -> None:
        if call.fence < self._fences.get(call.address.endpoint, 0):
            raise SluiceError("LEASE-002", where=str(call.address), what="the token is older than one seen here")

    def _refuse_unreachable(self) -> None:
        if self.unreachable is not None:
            where = f"{self.environment}/{self.region}"
            raise SluiceError("PLAT-001", where=where, what=self.unreachable, retryable=True)

    def _fleet(self, slot: SlotAddress) -> FleetSlot | None:
        held = self._slot(slot)
        return held if isinstance(held, FleetSlot) else None

    def _pods(self, endpoint: str, slot: str) -> list[Pod]:
        held = self.endpoints[endpoint].slots.get(slot)
        return held.pods if isinstance(held, FleetSlot) else []

    def _tell(self, endpoint: str) -> None:
        self._feed.append(endpoint)
        forgotten = max(0, len(self._feed) - FEED_MAX)
        self._feed, self._forgotten = self._feed[forgotten:], self._forgotten + forgotten


def _whole(weights_pct: Mapping[str, float]) -> dict[str, float]:
    """Return weights in whole percent that add up to 100; who has any keeps some."""
    rounded = {slot: float(max(1, round(pct))) if pct > 0 else 0.0 for slot, pct in weights_pct.items()}
    largest = max(rounded, key=lambda slot: rounded[slot])
    rounded[largest] += 100 - sum(rounded.values())
    return rounded
