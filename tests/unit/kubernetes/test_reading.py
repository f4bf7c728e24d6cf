"""A region is read by some calls a team, however many endpoints it has, and old or missing knowledge is no answer."""

from __future__ import annotations

import time
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.names import ENDPOINT_LABEL, POOL_LABEL, SLOT_LABEL, Address
from environments.spec import EnvironmentSpec
from reconciler.core.model.observed import ServerState
from reconciler.core.model.release import Artifact, Release
from reconciler.kubernetes.kinds import DEPLOYMENT, HTTP_ROUTE, NODE, POD
from reconciler.platforms.kubernetes.platform import KubernetesPlatform
from reconciler.platforms.kubernetes.route import Line, route
from reconciler.platforms.kubernetes.workload import workload
from reconciler.ports import SlotAddress, read_all
from reconciler.runtimes.vllm import VllmRuntime
from tests.support.kubernetes.world import NoTraffic, declared
from tests.unit.kubernetes.made import DIGEST, GATEWAY, brought, options, place, pod
from tests.unit.kubernetes.views import StillCluster

TEAMS = 5


def spec(endpoints: int, **more: Any) -> EnvironmentSpec:
    """Return an environment of so many endpoints of five teams."""
    found = declared("team")
    one = found["endpoints"]["chat"]
    found["endpoints"] = {f"e{n}": one | {"team": f"team{n % TEAMS}"} for n in range(endpoints)}
    return EnvironmentSpec.model_validate(found | more)


def objects(endpoints: int) -> dict[Any, list[Any]]:
    """Return a Deployment of two pods and a route for each endpoint."""
    found: dict[Any, list[Any]] = {}
    for number in range(endpoints):
        name, namespace = f"e{number}", f"team{number % TEAMS}-test"
        slot = SlotAddress(Address("test", "local", name), "a")
        held = Release(name, "vllm", Artifact("mlflow:one/1", DIGEST))
        body = workload(slot, brought(held), options(), place(namespace=namespace), replicas=2, fence=1)
        found.setdefault((DEPLOYMENT, namespace), []).append(body)
        line = route(slot.address, namespace, GATEWAY, Line({"a": 100.0, "b": 0.0}), fence=1)
        found.setdefault((HTTP_ROUTE, namespace), []).append(line)
        for server in range(2):
            one = pod(f"{name}-a-{server}", of=held, ready=True)
            one["metadata"] |= {"namespace": namespace}
            one["metadata"]["labels"] |= {ENDPOINT_LABEL: name, SLOT_LABEL: "a"}
            found.setdefault((POD, namespace), []).append(one)
    return found


def platform(cluster: StillCluster, declared: EnvironmentSpec) -> KubernetesPlatform:
    """Return the region of a cluster that only reads."""

    async def connect() -> Any:
        return cluster

    return KubernetesPlatform(declared, "local", lambda _: VllmRuntime(), connect, stats=NoTraffic)


async def test_a_thousand_endpoints_are_a_handful_of_calls() -> None:
    cluster = StillCluster(objects(1000))
    region = platform(cluster, spec(1000))
    found = await read_all(region)
    assert len(found) == 1000
    assert all(e.slots["a"].ready_count == 2 and e.weights["a"] == 100 for e in found)
    assert len(cluster.asked) == 3 * TEAMS + 2, "a watch for each kind and team, the Gateway and its class"
    began = time.perf_counter()
    await read_all(region)
    assert len(cluster.asked) == 3 * TEAMS + 2, "later looks ask nothing"
    assert time.perf_counter() - began < 5, "and take a fraction of a second on an idle machine"


async def test_pages_are_whole_endpoints() -> None:
    region = platform(StillCluster(objects(450)), spec(450))
    assert [len(page) async for page in region.observe()] == [200, 200, 50]


async def test_what_is_known_is_refused_when_it_is_old() -> None:
    with pytest.raises(SluiceError, match="KUBE-013"):
        await read_all(platform(StillCluster(objects(2), age_s=600), spec(2)))


async def test_a_namespace_that_cannot_be_read_makes_the_region_unreadable() -> None:
    refused = SluiceError("KUBE-003", what="the right to watch pods is missing")
    with pytest.raises(SluiceError, match="KUBE-003"):
        await read_all(platform(StillCluster(objects(5), {"team1-test": refused}), spec(5)))


async def test_but_not_that_of_a_team_that_has_nothing_here() -> None:
    refused = SluiceError("KUBE-003", what="the right to watch pods is missing")
    more: dict[str, Any] = {"teams": {f"team{n}": {} for n in range(TEAMS)} | {"idle": {}}}
    found = await read_all(platform(StillCluster(objects(5), {"idle-test": refused}), spec(5, **more)))
    assert len(found) == 5


async def test_a_server_whose_machine_the_cloud_took_back_is_displaced() -> None:
    """Its Node is deleted before Kubernetes gives up its pods, up to a minute later."""
    held = objects(1)
    (server, _) = held[POD, "team0-test"]
    server["metadata"]["creationTimestamp"] = "2026-11-30T10:00:00Z"
    server["status"]["conditions"][1]["status"] = "False"
    held[NODE, ""] = [{"metadata": {"name": "n2", "labels": {POOL_LABEL: "l4"}}}]
    (found,) = await read_all(platform(StillCluster(held), spec(1)))
    (lost,) = [r for r in found.slots["a"].replicas if r.state is not ServerState.READY]
    assert lost.displaced
    assert (lost.reason or "").startswith("its machine n1 is gone")
