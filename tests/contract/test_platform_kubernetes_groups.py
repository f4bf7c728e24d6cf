"""Replicas that span machines: groups start, grow, are drained, crash and go as one, on a real control plane.

The machines are fake, and so is what acts on LeaderWorkerSets (`tests/support/kubernetes/groups.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from environments.names import ENDPOINT_LABEL, SLOT_LABEL
from reconciler.core.model.observed import ObservedSlot
from reconciler.ports import finished, read_all
from tests.contract.test_platform_kubernetes_rollouts import hog
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.groups import LWS, Groups, make_kind
from tests.support.kubernetes.world import KubernetesWorld, on_a_cluster
from tests.support.worlds import place, serve, until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("kubernetes")]
SLOT_A = f"{ENDPOINT_LABEL}=chat,{SLOT_LABEL}=a"


@pytest.fixture(name="world")
async def world_of_groups(cluster: ControlPlane) -> AsyncIterator[KubernetesWorld]:
    """Return an empty region whose endpoint has two machines a replica."""
    make_kind(cluster)
    async with on_a_cluster(cluster) as found:
        with Groups(cluster, found.namespace).at_work():
            found.chat(workers=2)
            yield found


def pods(world: KubernetesWorld) -> dict[str, Body]:
    return {p["metadata"]["name"]: p for p in world.plane.api.list("v1", "Pod", world.namespace, labels=SLOT_A)}


def uids(world: KubernetesWorld) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods(world).values()}


def arguments(pod: Body) -> str:
    (container,) = pod["spec"]["containers"]
    return " ".join(container["args"])


async def warmed(world: KubernetesWorld) -> ObservedSlot:
    """Have slot a serve with one warm group."""
    await serve(world, "a", "one")
    await finished(world.platform.mark_warm, place(world, "a"), fence=1)
    return await until(world, "a", lambda s: s.warm)


async def test_a_group_is_one_server_and_answers_through_its_leader(world: KubernetesWorld) -> None:
    found = await warmed(world)
    assert [r.name for r in found.replicas] == ["chat-a-0"]
    assert (found.wanted, found.ready_count, found.restarts) == (1, 1, 0)
    leader, worker = (pods(world)[name] for name in ("chat-a-0", "chat-a-0-1"))
    assert "--headless" in arguments(worker)
    assert "--headless" not in arguments(leader)
    assert "--nnodes 2 --node-rank $(LWS_WORKER_INDEX)" in arguments(worker)
    slices = world.plane.api.list("discovery.k8s.io/v1", "EndpointSlice", world.namespace)
    assert {e["targetRef"]["name"] for s in slices for e in s.get("endpoints") or ()} == {"chat-a-0"}


async def test_a_slot_is_resized_by_whole_groups(world: KubernetesWorld) -> None:
    await serve(world, "a", "one")
    await finished(world.platform.scale, place(world, "a"), 2, fence=1)
    found = await until(world, "a", lambda s: s.ready_count == 2)
    assert [r.name for r in found.replicas] == ["chat-a-0", "chat-a-1"]
    assert len(pods(world)) == 4
    await finished(world.platform.scale, place(world, "a"), 1, fence=1)
    found = await until(world, "a", lambda s: len(s.replicas) == 1)
    assert (found.wanted, found.ready_count) == (1, 1)


async def test_a_drained_machine_takes_a_group_and_another_one_comes_cold(world: KubernetesWorld) -> None:
    before = (await warmed(world), uids(world))[1]
    world.plane.api.evict("chat-a-0-1", world.namespace)
    found = await until(world, "a", lambda s: s.ready_count == 1 and not s.warm)
    assert before.isdisjoint(uids(world)), "the leader is another one, with the name of the one that was warm"
    assert found.displaced
    assert found.crashed == 0
    await finished(world.platform.mark_warm, place(world, "a"), fence=1)
    assert (await until(world, "a", lambda s: s.warm)).ready_count == 1


async def test_a_group_starts_again_as_one_when_a_worker_ends(world: KubernetesWorld) -> None:
    before = (await warmed(world), uids(world))[1]
    world.hands.crash(f"{SLOT_A},leaderworkerset.sigs.k8s.io/worker-index=1")
    await until(world, "a", lambda s: s.ready_count == 1 and not s.warm)
    assert before.isdisjoint(uids(world))


async def test_a_group_that_lacks_one_machine_is_not_ready_and_says_what_it_lacks(
    world: KubernetesWorld, cluster: ControlPlane
) -> None:
    with hog(cluster, gpus=31):
        release = world.release("two", never_ready=True)
        await finished(world.platform.start, place(world, "a"), release, fence=1)
        found = await until(world, "a", lambda s: "has a free GPU" in (s.problem or ""))
        assert (found.ready_count, found.wanted) == (0, 1)
    await world.fault("a", never_ready=False)


async def test_another_release_comes_when_the_whole_group_is_gone_and_a_slot_is_emptied(
    world: KubernetesWorld,
) -> None:
    await warmed(world)
    before = uids(world)
    await serve(world, "a", "two")
    assert before.isdisjoint(uids(world))
    await finished(world.platform.stop, place(world, "a"), fence=1)
    assert pods(world) == {}
    assert world.plane.api.list(*LWS, world.namespace) == []


async def test_an_endpoint_is_removed_with_its_groups(world: KubernetesWorld) -> None:
    await warmed(world)
    await finished(world.platform.weigh, world.address, {"a": 100, "b": 0}, fence=1)
    await finished(world.platform.remove, world.address, fence=1)
    assert pods(world) == {}
    (endpoint,) = await read_all(world.platform, ["chat"])
    assert all(slot.release is None for slot in endpoint.slots.values())
