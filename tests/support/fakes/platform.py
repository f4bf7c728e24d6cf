"""A region in memory: the platform's ports with faults that a test sets and counts that a test scripts.

Imports the core and the ports. The contract suite holds it to the same promises as the real local platform; scenario
tests of the loop run over it with a fake clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from environments.errors import SluiceError
from environments.names import SLOTS, Address
from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, Replica, ServerState, one_server
from reconciler.core.model.release import Release
from reconciler.core.model.tokens import tokens_of_both
from reconciler.ports import InProgress, SlotAddress, SlotCounts


@dataclass(frozen=True)
class Fault:
    """How servers of one release behave. `start_s` is how long they take to be ready, by the fake clock."""

    start_s: float = 0.0
    never_ready: bool = False
    wrong_model: bool = False
    problem: str = "the server is starting"


@dataclass(frozen=True)
class Call:
    """One writer verb as it was called. `slot` is empty for verbs that concern a whole endpoint."""

    verb: str
    address: Address
    slot: str = ""
    release: str = ""
    weights_pct: Mapping[str, float] = field(default_factory=dict)
    fence: int = 0


@dataclass
class FakeSlot:
    """One server in memory. `generation` counts its processes; what is remembered of one belongs to that one."""

    release: Release
    started_at: float
    generation: int = 1
    warm_generation: int = 0
    ready_generation: int = 0
    restarts: int = 0
    running: bool = True


@dataclass
class FakeEndpoint:
    """One endpoint in memory, with the counters of its gateway and of its servers by slot."""

    slots: dict[str, FakeSlot] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SLOTS, 0.0))
    gateway: dict[str, SlotCounts] = field(default_factory=dict)
    servers: dict[str, SlotCounts] = field(default_factory=dict)


Flow = Callable[[Address, Mapping[str, float], Mapping[str, str | None]], Mapping[str, SlotCounts]]
Hook = Callable[[Call], Awaitable[None]]


class FakePlatform:
    """PlatformReader, PlatformWriter and CountsTraffic over dictionaries.

    Switches for tests: `faults` by release id, `unreachable` (every read raises PLAT-001 with this text),
    `gateway_problem`, `uncounted` (the gateway's counters cannot be read), `behind_s` and `counted_at_s` (they are told
    as they were so long ago, or at that time), `counts_in_flight` and `hanging` (the share of requests that never end
    by release id), `before` and `after` (awaited around every effect: a hook that raises
    or waits is a process that died or slept there), `flow` (what one `tick` of traffic adds, given address, weights
    and releases by slot).
    """

    def __init__(self, environment: str, region: str, *, now: Callable[[], float] = lambda: 0.0) -> None:
        self.environment, self.region, self._now = environment, region, now
        self.faults: dict[str, Fault] = {}
        self.unreachable: str | None = None
        self.gateway_problem: str | None = None
        self.gateway_epoch = 1
        self.uncounted: str | None = None
        self.behind_s = 0.0
        self.counted_at_s: float | None = None
        self.counts_in_flight = False
        self.hanging: dict[str, float] = {}
        self.open: dict[str, dict[str, int]] = {}
        self._counted: list[tuple[float, dict[str, dict[str, SlotCounts]]]] = []
        self.before: Hook | None = None
        self.after: Hook | None = None
        self.flow: Flow | None = None
        self.calls: list[Call] = []
        self.endpoints: dict[str, FakeEndpoint] = {}
        self._fences: dict[str, int] = {}

    async def observe(self, endpoints: Sequence[str] | None = None) -> AsyncIterator[tuple[ObservedEndpoint, ...]]:
        """Yield what is in memory."""
        if self.unreachable is not None:
            raise SluiceError(
                "PLAT-001", where=f"{self.environment}/{self.region}", what=self.unreachable, retryable=True
            )
        names = sorted(self.endpoints) if endpoints is None else sorted(endpoints)
        yield tuple(self._observed(name) for name in names)

    async def start(self, slot: SlotAddress, release: Release, *, fence: int, replicas: int = 1) -> InProgress | None:
        """Put a release into a slot."""
        async with self._effect(Call("start", slot.address, slot.slot, release.id, fence=fence)):
            endpoint = self.endpoints.setdefault(slot.address.endpoint, FakeEndpoint())
            found = endpoint.slots.get(slot.slot)
            if found and found.release.id == release.id and found.running:
                return None
            if found and found.release.id != release.id and endpoint.weights[slot.slot] > 0:
                raise _refused(slot, f"it serves {endpoint.weights[slot.slot]:g} % of the traffic")
            endpoint.slots[slot.slot] = FakeSlot(release, self._now())
            endpoint.servers[slot.slot] = SlotCounts(0, 0, epoch=f"{slot.slot}-{release.id}-{self._now()}")
        return None

    async def mark_warm(self, slot: SlotAddress, *, fence: int) -> None:
        """Remember the present generation of the slot's server as warm."""
        async with self._effect(Call("mark_warm", slot.address, slot.slot, fence=fence)):
            found = self._slot(slot)
            if found is None or not found.running:
                raise _refused(slot, "no server runs there")
            found.warm_generation = found.generation

    async def weigh(self, endpoint: Address, weights_pct: Mapping[str, float], *, fence: int) -> InProgress | None:
        """Set the weights of an endpoint."""
        async with self._effect(Call("weigh", endpoint, weights_pct=dict(weights_pct), fence=fence)):
            found = self.endpoints.get(endpoint.endpoint, FakeEndpoint())
            self._check_weights(endpoint, found, weights_pct)
            found.weights = dict.fromkeys(SLOTS, 0.0) | dict(weights_pct)
        return None

    async def stop(self, slot: SlotAddress, *, fence: int) -> InProgress | None:
        """Empty a slot."""
        async with self._effect(Call("stop", slot.address, slot.slot, fence=fence)):
            endpoint = self.endpoints.get(slot.address.endpoint)
            if endpoint is None:
                return None
            if endpoint.weights[slot.slot] > 0:
                raise _refused(slot, f"it serves {endpoint.weights[slot.slot]:g} % of the traffic")
            endpoint.slots.pop(slot.slot, None)
        return None

    async def remove(self, endpoint: Address, *, fence: int) -> InProgress | None:
        """Forget an endpoint."""
        async with self._effect(Call("remove", endpoint, fence=fence)):
            self.endpoints.pop(endpoint.endpoint, None)
        return None

    async def traffic(self, endpoint: Address) -> Mapping[str, SlotCounts]:
        """Return the gateway's counters by slot."""
        if self.uncounted is not None:
            raise SluiceError("PLAT-001", where=str(endpoint), what=self.uncounted, retryable=True)
        at_s, counted = self._as_counted(endpoint.endpoint)
        told = {
            slot: replace(
                counted.get(slot, SlotCounts(0, 0)),
                epoch=f"gateway-{self.gateway_epoch}",
                age_s=self._now() - at_s,
                look_at="the fake's clock",
            )
            for slot in SLOTS
        }
        if not self.counts_in_flight:
            return told
        open_ = dict.fromkeys(SLOTS, 0) | self.open.get(endpoint.endpoint, {})
        return {s: replace(c, begun=c.requests + open_[s], in_flight=open_[s]) for s, c in told.items()}

    @property
    def now_s(self) -> float:
        """Return the time of its clock."""
        return self._now()

    def _as_counted(self, endpoint: str) -> tuple[float, dict[str, SlotCounts]]:
        """Return the counters that are told, and when they were counted."""
        wanted_s = self._now() - self.behind_s if self.counted_at_s is None else self.counted_at_s
        if wanted_s >= self._now():
            return self._now(), self.endpoints.get(endpoint, FakeEndpoint()).gateway
        known = [(at_s, found) for at_s, found in self._counted if at_s <= wanted_s]
        at_s, found = known[-1] if known else (wanted_s, {})
        return at_s, found.get(endpoint, {})

    def tick(self, endpoint: str | None = None) -> None:
        """Let one tick of traffic pass: add what `flow` says to the counters of gateway and servers."""
        for name in sorted(self.endpoints) if endpoint is None else [endpoint]:
            found = self.endpoints[name]
            releases = {slot: found.slots[slot].release.id if slot in found.slots else None for slot in SLOTS}
            added = self.flow(self._address(name), dict(found.weights), releases) if self.flow else {}
            for slot, counts in added.items():
                self._arrive(name, slot, self._without_hanging(name, slot, counts))
        self._counted.append((self._now(), {name: dict(found.gateway) for name, found in self.endpoints.items()}))

    def _without_hanging(self, name: str, slot: str, counts: SlotCounts) -> SlotCounts:
        """Return the requests that end, and keep the others open."""
        share = self.hanging.get(self.endpoints[name].slots[slot].release.id, 0.0)
        lost = round(counts.requests * share)
        if lost:
            known = self.open.setdefault(name, {})
            known[slot] = known.get(slot, 0) + lost
        return replace(counts, requests=counts.requests - lost) if lost else counts

    def _arrive(self, name: str, slot: str, counts: SlotCounts) -> None:
        """Let requests begin; here they end at once."""
        self._end(name, slot, counts)

    def _end(self, name: str, slot: str, counts: SlotCounts) -> None:
        found = self.endpoints[name]
        found.gateway[slot] = summed(found.gateway.get(slot, SlotCounts(0, 0)), counts)
        found.servers[slot] = summed(found.servers.get(slot, SlotCounts(0, 0)), counts)

    def crash(self, endpoint: str, slot: str) -> None:
        """Let the slot's server die and be restarted: it is cold again and counts from zero."""
        found = self.endpoints[endpoint].slots[slot]
        found.generation, found.restarts, found.started_at = found.generation + 1, found.restarts + 1, self._now()
        self.endpoints[endpoint].servers[slot] = SlotCounts(0, 0, epoch=f"{slot}-{found.generation}-{self._now()}")

    def kill(self, endpoint: str, slot: str) -> None:
        """Let the slot's server and its supervisor die: nothing but another start brings it back."""
        self.endpoints[endpoint].slots[slot].running = False

    def restart_gateway(self) -> None:
        """Let the gateway die and come back: its counters start again from zero."""
        self.gateway_epoch += 1
        for endpoint in self.endpoints.values():
            endpoint.gateway.clear()

    def url(self, endpoint: str, slot: str) -> str:
        """Return the address that `observe` gives a slot."""
        return f"fake://{self.environment}/{self.region}/{endpoint}/{slot}"

    def _address(self, endpoint: str) -> Address:
        return Address(self.environment, self.region, endpoint)

    def _slot(self, slot: SlotAddress) -> FakeSlot | None:
        endpoint = self.endpoints.get(slot.address.endpoint)
        return endpoint.slots.get(slot.slot) if endpoint else None

    def _observed(self, name: str) -> ObservedEndpoint:
        found = self.endpoints.get(name, FakeEndpoint())
        slots = {slot: self._observed_slot(name, found, slot) for slot in SLOTS}
        return ObservedEndpoint(self._address(name), slots, gateway_problem=self.gateway_problem)

    def _observed_slot(self, name: str, endpoint: FakeEndpoint, slot: str) -> ObservedSlot:
        found, weight = endpoint.slots.get(slot), endpoint.weights[slot]
        if found is None:
            return ObservedSlot(weight_pct=weight)
        fault = self.faults.get(found.release.id, Fault())
        started = self._now() - found.started_at >= fault.start_s
        ready = found.running and started and not fault.never_ready and not fault.wrong_model
        if ready:
            found.ready_generation = found.generation
        problem = None if ready else fault.problem if found.running else "the server and its supervisor are gone"
        wrong = fault.wrong_model and started and found.running
        server = Replica(
            slot,
            _state(found, ready=ready, wrong=wrong),
            found.running and found.warm_generation == found.generation,
            found.restarts,
            "it serves another model" if wrong else problem,
            self.url(name, slot),
        )
        return one_server(found.release, server, weight_pct=weight)

    def _check_weights(self, address: Address, endpoint: FakeEndpoint, weights: Mapping[str, float]) -> None:
        unknown = sorted(set(weights) - set(SLOTS))
        empty = sorted(slot for slot, pct in weights.items() if pct > 0 and slot not in endpoint.slots)
        bad = any(not 0 <= pct <= 100 for pct in weights.values()) or abs(sum(weights.values()) - 100) > 1e-6
        if unknown or bad:
            raise SluiceError("PLAT-004", where=str(address), what=f"the weights {dict(weights)} are not a split")
        if empty:
            raise SluiceError("PLAT-005", where=str(address), what=f"slot {empty[0]} has no server")

    def _effect(self, call: Call) -> _Effect:
        return _Effect(self, call)

    def check_fence(self, call: Call) -> None:
        """Refuse a token lower than one seen for the endpoint; it is checked after `before`, as inside a lock."""
        seen = self._fences.get(call.address.endpoint, 0)
        if call.fence < seen:
            raise SluiceError("LEASE-002", where=str(call.address), what=f"token {call.fence} is older than {seen}")
        self._fences[call.address.endpoint] = call.fence
        self.calls.append(call)


class _Effect:
    """One writer call: the hook before, the fence, the effect itself, the hook after."""

    def __init__(self, platform: FakePlatform, call: Call) -> None:
        self._platform, self._call = platform, call

    async def __aenter__(self) -> None:
        if self._platform.before is not None:
            await self._platform.before(self._call)
        self._platform.check_fence(self._call)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._platform.after is not None:
            await self._platform.after(self._call)


def _state(found: FakeSlot, *, ready: bool, wrong: bool) -> ServerState:
    if not found.running:
        return ServerState.DEAD
    if wrong:
        return ServerState.WRONG_MODEL
    if ready:
        return ServerState.READY
    return ServerState.SILENT if found.ready_generation == found.generation else ServerState.STARTING


def _refused(slot: SlotAddress, why: str) -> SluiceError:
    return SluiceError("PLAT-003", where=str(slot), what="the slot was left as it is", why=why)


def summed(one: SlotCounts, other: SlotCounts) -> SlotCounts:
    """Return two slots' counters together."""
    return replace(
        one,
        requests=one.requests + other.requests,
        errors=one.errors + other.errors,
        rejected=(one.rejected or 0) + (other.rejected or 0),
        tokens=tokens_of_both(one.tokens, other.tokens),
        ttft_s=_sum_histograms(one.ttft_s, other.ttft_s),
        itl_s=_sum_histograms(one.itl_s, other.itl_s),
        tpot_s=_sum_histograms(one.tpot_s, other.tpot_s),
        answer_s=_sum_histograms(one.answer_s, other.answer_s),
    )


def _sum_histograms(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {le: one.get(le, 0.0) + other.get(le, 0.0) for le in {**one, **other}}
