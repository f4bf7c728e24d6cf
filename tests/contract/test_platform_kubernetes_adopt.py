"""Fields that others own are taken over when a person asks for it, values as they are, and at no other time."""

from __future__ import annotations

from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.ports import Adopts, finished
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.scaling import Keda
from tests.support.kubernetes.world import (
    ROUTE,
    KubernetesWorld,
    live_route,
    serving,
    world_on_a_cluster,  # noqa: F401 - the fixture `world`
)
from tests.support.worlds import place, seen, serve, until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("kubernetes")]


def route(world: KubernetesWorld, **spec: Any) -> Body:
    metadata = {"name": "chat", "namespace": world.namespace}
    return {"apiVersion": ROUTE[0], "kind": ROUTE[1], "metadata": metadata, "spec": spec}


def owners(body: Body) -> set[str]:
    """Return who owns anything of an object but its status."""
    return {entry["manager"] for entry in body["metadata"]["managedFields"] if entry.get("subresource") != "status"}


async def test_rules_that_somebody_else_wrote_are_taken_over_as_they_are_and_written_then(
    world: KubernetesWorld,
) -> None:
    assert isinstance(world.platform, Adopts)
    await serving(world)
    await serve(world, "b", "two")
    assert await world.platform.foreign(world.address) == ()
    theirs = live_route(world)["spec"]
    rules = [rule | {"timeouts": {"request": "15s"}} for rule in theirs["rules"]]
    world.plane.api.apply(route(world, parentRefs=theirs["parentRefs"], rules=rules), manager="somebody")
    found = await world.platform.foreign(world.address)
    assert [(f.object, f.field, f.manager, f.operation) for f in found] == [
        ("HTTPRoute chat", "spec.parentRefs", "somebody", "Apply"),
        ("HTTPRoute chat", "spec.rules", "somebody", "Apply"),
    ]
    assert all(field.at for field in found)
    with pytest.raises(SluiceError, match="KUBE-005"):
        await finished(world.platform.weigh, world.address, {"a": 90, "b": 10}, fence=1)
    assert await world.platform.adopt(world.address, fence=1) == found
    assert live_route(world)["spec"]["rules"] == rules, "no value changes"
    assert owners(live_route(world)) == {"sluice"}
    await finished(world.platform.weigh, world.address, {"a": 90, "b": 10}, fence=1)
    assert (await seen(world, "b")).weight_pct == 10
    assert await world.platform.adopt(world.address, fence=1) == ()


async def test_a_route_of_somebody_else_becomes_the_endpoints(world: KubernetesWorld) -> None:
    world.plane.api.apply(route(world, rules=[{"backendRefs": [{"name": "theirs", "port": 80}]}]), manager="somebody")
    await serve(world, "a", "one")
    assert await world.platform.adopt(world.address, fence=2)
    await finished(world.platform.weigh, world.address, {"a": 100, "b": 0}, fence=2)
    assert (await seen(world, "a")).weight_pct == 100


async def scaled_by_hand(world: KubernetesWorld, replicas: int) -> None:
    """Let a person set the number of servers of slot a, as `kubectl scale` does."""
    found = world.deployment("a")
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": replicas}}
    body["metadata"] = {key: found["metadata"][key] for key in ("name", "namespace")}
    world.plane.api.merge(body, manager="kubectl", subresource="scale")
    await until(world, "a", lambda s: s.wanted == replicas)


async def test_a_number_of_servers_that_a_person_set_is_taken_over(world: KubernetesWorld) -> None:
    await serve(world, "a", "one")
    await scaled_by_hand(world, 2)
    with pytest.raises(SluiceError, match="PLAT-025"):
        await world.platform.scale(place(world, "a"), 3, fence=1)
    (field,) = await world.platform.foreign(world.address)
    assert (field.object, field.field, field.manager) == ("Deployment chat-a", "spec.replicas", "kubectl")
    await world.platform.adopt(world.address, fence=1)
    assert world.deployment("a")["spec"]["replicas"] == 2
    await finished(world.platform.scale, place(world, "a"), 3, fence=1)
    assert world.deployment("a")["spec"]["replicas"] == 3


async def test_a_number_of_servers_that_an_autoscaler_keeps_stays_its_own(world: KubernetesWorld) -> None:
    with Keda(world.plane, world.namespace).at_work() as keda:
        await serve(world, "a", "one")
        keda.scale("chat-a", least=2)
        await until(world, "a", lambda s: s.wanted == 2)
        assert await world.platform.foreign(world.address) == ()
        assert await world.platform.adopt(world.address, fence=1) == ()
    assert "keda" in owners(dict(world.deployment("a")))


async def test_an_owner_that_slept_takes_nothing(world: KubernetesWorld) -> None:
    await serve(world, "a", "one")
    await scaled_by_hand(world, 2)
    await finished(world.platform.mark_warm, place(world, "a"), fence=5)
    with pytest.raises(SluiceError, match="LEASE-002"):
        await world.platform.adopt(world.address, fence=4)
    assert "kubectl" in owners(dict(world.deployment("a")))
