"""Machines that are drained or lost: what servers say of it, what is counted, that they come back, and rollouts.

Whole rollouts lose the only server of their challenger: the release is not blamed, and they go on on another machine.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from environments.names import ENDPOINT_LABEL, POOL_LABEL, SLOT_LABEL, slot_labels
from reconciler.core.model.observed import ObservedSlot, ServerState
from reconciler.core.model.rollout import Phase
from reconciler.engine.loop import Snapshot
from reconciler.platforms.kubernetes.traffic import Counted, Place, Told
from reconciler.ports import finished
from tests.contract.test_platform_kubernetes_rollouts import (
    Rig,
    rig_on_a_cluster,  # noqa: F401 - the fixture `rig`
)
from tests.support.kubernetes.api import ApiError, Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.world import (
    KubernetesWorld,
    on_a_cluster,
    world_on_a_cluster,  # noqa: F401 - the fixture `world`
)
from tests.support.worlds import place, serve, until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("kubernetes")]
SLOT_A, SLOT_B = (f"{ENDPOINT_LABEL}=chat,{SLOT_LABEL}={slot}" for slot in "ab")


def budget(world: KubernetesWorld, *, servers: int) -> None:
    """Make the disruption budget that the stacks make for a slot, and wait until it counts all of its servers."""
    metadata = {"name": "chat-a", "namespace": world.namespace}
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": slot_labels("chat", "a")}}
    kind = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
    world.plane.api.apply({**kind, "metadata": metadata, "spec": spec})

    def known() -> bool:
        found = world.plane.api.get("policy/v1", "PodDisruptionBudget", "chat-a", world.namespace) or {}
        status = found.get("status") or {}
        return (status.get("expectedPods"), status.get("disruptionsAllowed")) == (servers, 1)

    world.plane.wait_for("the budget to be worked out", known)


def ready_names(slot: ObservedSlot) -> set[str]:
    return {server.name for server in slot.replicas if server.state is ServerState.READY}


async def test_a_drain_takes_one_server_at_a_time_and_each_comes_back(world: KubernetesWorld) -> None:
    await serve(world, "a", "one")
    await finished(world.platform.scale, place(world, "a"), 2, fence=1)
    before = ready_names(await until(world, "a", lambda s: s.ready_count == 2))
    budget(world, servers=2)
    first, second = sorted(before)
    with cordoned(world.plane):  # as a drain does first: what replaces a server waits for another machine
        world.plane.api.evict(first, world.namespace)
        await until(world, "a", lambda s: first not in ready_names(s))
        with pytest.raises(ApiError, match="disruption budget") as refused:
            world.plane.api.evict(second, world.namespace)
        assert refused.value.code == 429
    found = await until(world, "a", lambda s: s.ready_count == 2)
    assert first not in ready_names(found)
    assert found.wanted == 2


@contextlib.contextmanager
def cordoned(plane: ControlPlane) -> Iterator[None]:
    """Let nothing be put on any machine until the block ends."""

    def cordon(holds: bool) -> None:
        for node in plane.api.list("v1", "Node"):
            body = {key: node[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": node["metadata"]["name"]}}
            plane.api.merge({**body, "spec": {"unschedulable": holds}}, manager="drain")

    cordon(True)
    try:
        yield
    finally:
        cordon(False)


class OneProxy:
    """`Stats` of a proxy that has counted what a test says."""

    def __init__(self) -> None:
        self.counted: dict[str, Counted] = {}

    async def read(self, namespace: str, endpoint: str) -> Told:
        """Return the counters by address."""
        return Told({Place("proxy", address): counted for address, counted in self.counted.items()})


@contextlib.contextmanager
def another_machine(plane: ControlPlane, name: str) -> Iterator[None]:
    """Make a machine of the pool on which alone new pods are put while the block runs."""
    plane.add_gpu_node(name, labels={POOL_LABEL: "l4"})
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "l4-0"}}
    plane.api.merge({**node, "spec": {"unschedulable": True}}, manager="kubectl")
    try:
        yield
    finally:
        plane.api.merge({**node, "spec": {"unschedulable": False}}, manager="kubectl")
        plane.api.delete("v1", "Node", name)


@contextlib.contextmanager
def lost(plane: ControlPlane, name: str) -> Iterator[None]:
    """Let a machine be said to be silent while the block runs, and stop kwok, which would speak for it."""
    plane.processes["kwok"].send_signal(signal.SIGSTOP)
    silent = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "it is silent"}
    node: Body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    try:
        plane.api.apply({**node, "status": {"conditions": [silent]}}, manager="node-controller", status=True)
        yield
    finally:
        plane.processes["kwok"].send_signal(signal.SIGCONT)


async def test_what_fails_on_a_lost_machine_is_not_counted_against_the_release(cluster: ControlPlane) -> None:
    proxy = OneProxy()
    async with on_a_cluster(cluster, stats=lambda client: proxy) as world:
        with another_machine(cluster, "l4-gone"):
            await serve(world, "a", "one")
            (pod,) = cluster.api.list("v1", "Pod", world.namespace, labels=SLOT_A)
            assert pod["spec"]["nodeName"] == "l4-gone"
            address = pod["status"]["podIP"]
            await world.platform.traffic(world.address)
            proxy.counted[address] = Counted(100, 2)
            assert (await world.platform.traffic(world.address))["a"].errors == 2
            with lost(cluster, "l4-gone"):
                world.hands.server(SLOT_A, ready=False, started=True)
                found = await until(world, "a", lambda s: "its machine l4-gone does not answer" in (s.problem or ""))
                assert not found.ready
                proxy.counted[address] = Counted(150, 52)
                after = (await world.platform.traffic(world.address))["a"]
                assert (after.requests, after.errors) == (100, 2)


@dataclass
class Losing:
    """Watches a rollout, and takes the challenger's only server when it has the first traffic; `lose` says how."""

    rig: Rig
    phase: Phase = Phase.SHIFTING
    lost: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    champions: set[int] = field(default_factory=set)
    told: set[str] = field(default_factory=set)

    def __call__(self, snapshot: Snapshot) -> None:
        """Look at one turn."""
        seen, region = next(iter(snapshot.observed.values()), None), snapshot.rollout.regions[0]
        if seen is None or region.phase not in (Phase.SHIFTING, Phase.BAKING):
            return
        ours = seen.slots["b"]
        self.champions.add(seen.slots["a"].ready_count)
        if ours.weight_pct not in self.shares[-1:]:
            self.shares.append(ours.weight_pct)
        self.told.update(getattr(step, "reason", "") for step in snapshot.steps)
        if not self.lost and ours.warm and ours.weight_pct:
            (pod,) = self.rig.world.plane.api.list("v1", "Pod", self.rig.world.namespace, labels=SLOT_B)
            self.lost.append(pod["metadata"]["name"])
            self.lose(pod)
        elif self.lost and ours.weight_pct == 0 and region.displaced_since is not None:
            self.replace()

    def lose(self, pod: Body) -> None:
        """Drain it: it goes, and another one starts at once."""
        self.rig.world.plane.api.evict(pod["metadata"]["name"], pod["metadata"]["namespace"])

    def replace(self) -> None:
        """Do nothing: its Deployment does."""


class LosingItsMachine(Losing):
    """Takes the machine: first it is silent, and only when the rollout holds is the machine given up."""

    def __init__(self, rig: Rig, machine: contextlib.ExitStack) -> None:
        super().__init__(rig)
        self.machine, self.pod, self.silent = machine, Body(), contextlib.ExitStack()

    def lose(self, pod: Body) -> None:
        """Let the machine be silent, as its controller says it."""
        self.pod = pod
        self.silent.enter_context(lost(self.rig.world.plane, pod["spec"]["nodeName"]))
        self.rig.world.hands.server(SLOT_B, ready=False, started=True)

    def replace(self) -> None:
        """Give the machine up."""
        self.rig.world.plane.api.finish(self.pod)
        self.machine.close()
        self.silent.close()


async def test_a_challenger_whose_only_server_is_drained_is_promoted_from_another(rig: Rig) -> None:
    rig.declare("two", steps_pct=[10, 50])
    losing = Losing(rig)
    outcome = await rig.apply(watch=losing)
    assert losing.lost
    assert outcome.rollout is not None
    assert outcome.rollout.phase is Phase.PROMOTED, outcome
    assert losing.shares[:4] == [0.0, 10.0, 0.0, 10.0], "the champion had its traffic until another server was warm"
    assert losing.champions == {2}, "no server of the champion was given up for it"
    assert await rig.serving() == {"mlflow:two/1": 100.0}


async def test_a_whole_rollout_survives_the_loss_of_its_challengers_machine(
    rig: Rig,
    cluster: ControlPlane,
) -> None:
    rig.declare("two", steps_pct=[10, 50], start_timeout_s=120)
    with contextlib.ExitStack() as machine:
        machine.enter_context(another_machine(cluster, "l4-dying"))
        losing = LosingItsMachine(rig, machine)
        with losing.silent:
            outcome = await rig.apply(watch=losing)
    assert losing.pod["spec"]["nodeName"] == "l4-dying"
    assert outcome.rollout is not None
    assert outcome.rollout.phase is Phase.PROMOTED, outcome
    assert losing.shares[:4] == [0.0, 10.0, 0.0, 10.0]
    assert losing.champions == {2}
    assert any("its machine l4-dying does not answer" in said for said in losing.told), losing.told
    assert await rig.serving() == {"mlflow:two/1": 100.0}
