"""What a plan is told by a cluster before anything is done in it, on a real control plane with fake machines."""

from __future__ import annotations

import pytest

from environments.errors import SluiceError
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.world import (
    KubernetesWorld,
    on_a_cluster,
    world_on_a_cluster,  # noqa: F401 - the fixture `world`
)
from tests.support.worlds import place, serve, until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("kubernetes")]


async def test_a_plan_warns_where_an_autoscaler_has_more_servers_than_the_file_declares(world: KubernetesWorld) -> None:
    await serve(world, "a", "one")
    assert [r.code for r in await world.platform.foresee(world.address, world.release("two"))] == ["PLAT-027"]
    deployment = world.deployment("a")
    body = {key: deployment[key] for key in ("apiVersion", "kind")}
    metadata = {key: deployment["metadata"][key] for key in ("name", "namespace")}
    world.plane.api.apply({**body, "metadata": metadata, "spec": {"replicas": 4}}, manager="keda")
    await until(world, "a", lambda s: s.wanted == 4)
    _, warning = await world.platform.foresee(world.address, world.release("two"))
    assert (warning.code, warning.level) == ("PLAT-025", "warn")
    assert "slot a has 4 servers by keda, and the file declares 1" in warning.message


async def test_a_plan_says_how_weights_get_into_pods(world: KubernetesWorld) -> None:
    (remark,) = await world.platform.foresee(world.address, world.release("one"))
    assert (remark.code, remark.level) == ("PLAT-027", "info")
    assert "model: streamed from S3 (no OCI image of it is named)" in remark.message
    assert "A cold start takes about 2 min at most" in remark.message


async def test_a_split_between_pools_is_denied_by_the_gateways_controller(world: KubernetesWorld) -> None:
    chat = world.spec.endpoints["chat"].model_copy(update={"backend": "inference_pool"})
    world.spec = world.spec.model_copy(update={"endpoints": {"chat": chat}})
    world.platform = world.opened()
    (remark,) = await world.platform.foresee(world.address, world.release("one"))
    assert (remark.code, remark.level) == ("PLAT-022", "deny")
    assert "gateway.envoyproxy.io/gatewayclass-controller takes one pool a rule" in remark.message
    assert "declare `backend: service`" in remark.message
    with pytest.raises(SluiceError, match="PLAT-022"):
        await world.platform.start(place(world, "a"), world.release("one"), fence=1)


async def test_a_gateway_that_is_not_there_is_denied(cluster: ControlPlane) -> None:
    async with on_a_cluster(cluster, gateway={"name": "nowhere", "namespace": "default"}) as world:
        (remark,) = await world.platform.foresee(world.address, world.release("one"))
        assert (remark.code, remark.level) == ("PLAT-026", "deny")
        await serve(world, "a", "one")
        with pytest.raises(SluiceError, match="PLAT-026"):
            await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)
