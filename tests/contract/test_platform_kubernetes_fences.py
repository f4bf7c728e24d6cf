"""An owner that was overtaken changes nothing in a cluster: tokens on every object, on a real control plane."""

from __future__ import annotations

from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.kubernetes.client import open_client
from reconciler.platforms.kubernetes.platform import KubernetesPlatform
from reconciler.ports import finished
from reconciler.runtimes.vllm import VllmRuntime
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.world import (
    REGION,
    KubernetesWorld,
    NoTraffic,
    live_route,
    serving,
    world_on_a_cluster,  # noqa: F401 - the fixture `world`
)
from tests.support.worlds import place, seen, serve, until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("kubernetes")]


async def test_a_newer_token_goes_onto_every_object_before_it_acts(world: KubernetesWorld) -> None:
    """Whoever had read an object before holds a version that nobody can write any more."""
    await serving(world)
    await serve(world, "b", "two")
    before = {s: world.deployment(s)["metadata"]["resourceVersion"] for s in "ab"}
    await finished(world.platform.stop, place(world, "b"), fence=9)
    assert world.deployment("a")["metadata"]["annotations"]["sluice.dev/fence"] == "9"
    assert world.deployment("a")["metadata"]["resourceVersion"] != before["a"]
    assert live_route(world)["metadata"]["annotations"]["sluice.dev/fence"] == "9"


class Overtaken:
    """A client under whose hands a newer owner comes: just after it made a Deployment, or just before it deletes."""

    def __init__(self, client: Any, world: KubernetesWorld) -> None:
        self._client, self._world = client, world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def apply(self, body: Body, **more: Any) -> Any:
        """Apply, and let the newer owner act."""
        made = await self._client.apply(body, **more)
        if body["kind"] == "Deployment":
            await finished(self._world.platform.weigh, self._world.address, {"a": 100, "b": 0}, fence=7)
        return made

    async def delete(self, *args: Any, **more: Any) -> None:
        """Let the newer owner act, and delete what had been read before."""
        if more.get("resource_version"):
            await finished(self._world.platform.weigh, self._world.address, {"a": 100, "b": 0}, fence=7)
        await self._client.delete(*args, **more)


def overtaken(world: KubernetesWorld) -> KubernetesPlatform:
    """Return the platform of an owner that is overtaken in the middle of a verb."""

    async def connect() -> Any:
        return Overtaken(open_client("test", region="late"), world)

    world.platforms.append(KubernetesPlatform(world.spec, REGION, lambda _: VllmRuntime(), connect, stats=NoTraffic))
    return world.platforms[-1]


async def test_an_owner_that_is_overtaken_in_a_start_takes_back_what_it_made(
    world: KubernetesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(world.kubeconfig))
    await serving(world)
    with pytest.raises(SluiceError) as refused:
        await overtaken(world).start(place(world, "b"), world.release("two"), fence=1)
    assert refused.value.code == "LEASE-002"
    assert (await until(world, "b", lambda s: s.release is None)).release is None


async def test_an_owner_that_is_overtaken_before_a_delete_deletes_nothing(
    world: KubernetesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(world.kubeconfig))
    await serving(world)
    await serve(world, "b", "two")
    with pytest.raises(SluiceError) as refused:
        await finished(overtaken(world).stop, place(world, "b"), fence=1)
    assert refused.value.code == "LEASE-002"
    assert (await seen(world, "b")).ready
