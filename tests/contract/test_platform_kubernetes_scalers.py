"""An autoscaler that owns the number of servers is borrowed for a rollout's time, and given back as it was.

KEDA is a stand-in's (`tests/support/kubernetes/scaling.py`), its objects are checked by its own definition; a
HorizontalPodAutoscaler is scaled by the real controller.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from environments.errors import SluiceError
from reconciler.platforms.kubernetes.scalers import BORROWED, PAUSED_AT
from reconciler.ports import BorrowsScalers, InProgress, finished
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.scaling import Keda
from tests.support.kubernetes.world import (
    KubernetesWorld,
    world_on_a_cluster,  # noqa: F401 - the fixture `world`
)
from tests.support.worlds import place, serve, until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("kubernetes")]


@pytest.fixture
def keda(world: KubernetesWorld) -> Iterator[Keda]:
    """Return KEDA at work, with a ScaledObject for each slot."""
    with Keda(world.plane, world.namespace).at_work() as found:
        for slot in "ab":
            found.scale(f"chat-{slot}", {"example.com/theirs": "kept"})
        yield found


async def owned_by_keda(world: KubernetesWorld, keda: Keda) -> None:
    """Have slot a run two servers by KEDA's wish."""
    await serve(world, "a", "one")
    keda.desired["chat-a"] = 2
    await until(world, "a", lambda s: s.ready_count == 2)


def notes(body: Body) -> dict[str, str]:
    found: dict[str, str] = body["metadata"]["annotations"]
    return found


async def test_keda_brings_the_servers_that_a_rollout_needs_and_is_given_back(
    world: KubernetesWorld, keda: Keda
) -> None:
    assert isinstance(world.platform, BorrowsScalers)
    await owned_by_keda(world, keda)
    before = keda.scaled("chat-a")
    waiting = await world.platform.scale(place(world, "a"), 4, fence=1)
    assert waiting == InProgress("ScaledObject chat-a brings slot a to 4 servers")
    assert notes(keda.scaled("chat-a"))[PAUSED_AT] == "4"
    await finished(world.platform.scale, place(world, "a"), 4, fence=1)
    await until(world, "a", lambda s: s.ready_count == 4)
    await world.platform.give_back(world.address, fence=1)
    after = keda.scaled("chat-a")
    assert notes(after) == notes(before)
    assert after["spec"] == before["spec"]
    await until(world, "a", lambda s: s.wanted == 2)


async def test_fewer_servers_are_a_pause_at_that_number_too(world: KubernetesWorld, keda: Keda) -> None:
    await owned_by_keda(world, keda)
    await finished(world.platform.scale, place(world, "a"), 1, fence=1)
    assert notes(keda.scaled("chat-a"))[PAUSED_AT] == "1"
    await until(world, "a", lambda s: s.wanted == 1)


async def test_an_owner_that_slept_neither_borrows_nor_gives_back(world: KubernetesWorld, keda: Keda) -> None:
    await owned_by_keda(world, keda)
    await world.platform.scale(place(world, "a"), 3, fence=5)
    held = notes(keda.scaled("chat-a"))
    for work in (world.platform.scale(place(world, "a"), 2, fence=4), world.platform.give_back(world.address, fence=4)):
        with pytest.raises(SluiceError, match="LEASE-002"):
            await work
    assert notes(keda.scaled("chat-a")) == held
    await world.platform.give_back(world.address, fence=6)
    assert BORROWED not in notes(keda.scaled("chat-a"))


async def test_what_a_person_paused_stays_paused(world: KubernetesWorld, keda: Keda) -> None:
    await owned_by_keda(world, keda)
    keda.scale("chat-a", {PAUSED_AT: "2"})
    with pytest.raises(SluiceError) as refused:
        await world.platform.scale(place(world, "a"), 3, fence=1)
    assert refused.value.code == "PLAT-025"
    assert "was paused by somebody else" in refused.value.problem.why
    await world.platform.give_back(world.address, fence=1)
    assert notes(keda.scaled("chat-a"))[PAUSED_AT] == "2"


async def test_a_plan_says_that_the_autoscaler_is_borrowed(world: KubernetesWorld, keda: Keda) -> None:
    await owned_by_keda(world, keda)
    *_, remark = await world.platform.foresee(world.address, world.release("two"))
    assert (remark.code, remark.level) == ("PLAT-025", "info")
    assert "ScaledObject chat-b is held at up to 2 for slot b" in remark.message


def autoscaler(world: KubernetesWorld, *, most: int) -> Body:
    """Make a HorizontalPodAutoscaler of slot a."""
    usage = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
    }
    return world.plane.api.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "anything", "namespace": world.namespace},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat-a"},
                "minReplicas": 2,
                "maxReplicas": most,
                "metrics": [usage],
            },
        }
    )


async def test_an_autoscaler_without_keda_has_its_bound_raised(world: KubernetesWorld) -> None:
    """The real controller brings what its lower bound says, whatever its metrics say; nobody gives it any here."""
    await serve(world, "a", "one")
    autoscaler(world, most=4)
    await until(world, "a", lambda s: s.wanted == 2)
    await finished(world.platform.scale, place(world, "a"), 3, fence=1)
    await until(world, "a", lambda s: s.wanted == 3)
    for wanted, why in ((5, "has maxReplicas 4"), (1, "takes servers away by its metrics alone")):
        with pytest.raises(SluiceError) as refused:
            await world.platform.scale(place(world, "a"), wanted, fence=1)
        assert refused.value.code == "PLAT-025"
        assert why in refused.value.problem.why
    await world.platform.give_back(world.address, fence=1)
    found = world.plane.api.get("autoscaling/v2", "HorizontalPodAutoscaler", "anything", world.namespace)
    assert found is not None
    assert found["spec"]["minReplicas"] == 2
    assert BORROWED not in found["metadata"].get("annotations", {})
