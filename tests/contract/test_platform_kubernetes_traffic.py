"""The platform `kubernetes` under real traffic: real Envoy Gateway, real Envoy, and nothing of the product replaced.

What is not real: containers, images and probes (`tests/support/kubernetes/rig/kubelet.py` acts for kubelets), vLLM
itself, and the network between machines. Pods' servers are reached as in a cluster: by Envoy at the pods' addresses,
and by the product through the API server's own proxy.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from environments.names import slot_object
from reconciler.evidence.counters import SummedServers, difference, read_counters
from reconciler.ports import SlotCounts, finished, read_all
from tests.support.kubernetes.api import ApiError, Body
from tests.support.kubernetes.rig.clients import Clients
from tests.support.kubernetes.rig.rig import Rig, traffic_rig
from tests.support.kubernetes.rig.stage import ENVIRONMENT, Stage, declared
from tests.support.kubernetes.rig.two_slots import FENCE, TwoSlots, stage_of, two_slots

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("gateway-rig")]
ENDPOINTS = ("flips", "counted", "refused", "streams", "good", "bad", "drained", "scaled")
FLIPS = ((0, 100), (100, 0), (90, 10), (100, 0), (99, 1), (50, 50), (0, 100), (10, 90))
CHANGES, RATE_RPS = 50, 200.0
STREAM_TOKENS = 25


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """Return a cluster with a gateway, in which each test has an endpoint and a team of its own."""
    with traffic_rig(declared({name: name for name in ENDPOINTS})) as found:
        yield found


def lost(clients: Clients) -> list[object]:
    """Return the requests that failed without a server's own doing."""
    return [each for each in clients.sent() if not each.ok and not each.model]


@pytest.fixture
async def two(rig: Rig, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[TwoSlots]:
    """Return an endpoint with two slots that serve; the parameter is its name."""
    async with two_slots(rig, tmp_path, request.param) as found:
        yield found


@pytest.mark.parametrize("two", ["flips"], indirect=True)
async def test_fifty_changes_of_weight_lose_no_request(rig: Rig, two: TwoSlots) -> None:
    with rig.clients(rate_rps=RATE_RPS, endpoint="flips") as clients:
        await asyncio.to_thread(clients.wait_for_answers)
        for change in range(CHANGES):
            await two.weigh(*FLIPS[change % len(FLIPS)])
            await asyncio.sleep(0.1)
    assert clients.failed() == []
    assert min(clients.ok()[two.one], clients.ok()[two.two]) > CHANGES


@pytest.mark.parametrize("two", ["counted"], indirect=True)
async def test_the_proxies_count_what_clients_met_arm_by_arm(rig: Rig, two: TwoSlots) -> None:
    """While both arms have weight: Envoy forgets what it counted for servers that get none."""
    two.stage.model("v2", error_rate=0.05)
    await two.weigh(60, 40)
    before = await two.platform.traffic(two.address)
    with rig.clients(rate_rps=RATE_RPS, endpoint="counted") as clients:
        await asyncio.sleep(5)
        amid = await two.platform.traffic(two.address)
    counted = await two.platform.traffic(two.address)
    asked = {slot: counted[slot].requests - before[slot].requests for slot in counted}
    failed = {slot: counted[slot].errors - before[slot].errors for slot in counted}
    sent = clients.sent()
    assert asked == {"a": sum(s.model == two.one for s in sent), "b": sum(s.model == two.two for s in sent)}
    begun = {slot: (counted[slot].begun or 0) - (before[slot].begun or 0) for slot in counted}
    assert begun == asked
    assert {slot: counts.in_flight for slot, counts in counted.items()} == {"a": 0, "b": 0}
    assert sum(counts.in_flight or 0 for counts in amid.values()) > 0
    assert failed == {"a": 0, "b": sum(not s.ok for s in sent)}
    assert failed["b"] > 0


@pytest.mark.parametrize("two", ["refused"], indirect=True)
async def test_a_rejection_is_an_answer_to_the_proxies_and_the_servers_tell_it(rig: Rig, two: TwoSlots) -> None:
    two.stage.model("v2", error_rate=0.2, error_status=422)
    await two.weigh(60, 40)
    servers = SummedServers()

    async def read() -> dict[str, SlotCounts]:
        (seen,) = await read_all(two.platform, ["refused"])
        return await read_counters(two.region, "vllm", seen, servers)

    before = await read()
    with rig.clients(rate_rps=RATE_RPS, endpoint="refused") as clients:
        await asyncio.sleep(5)
    after = await read()
    found = {slot: difference(before[slot], after[slot]) for slot in after}
    refused = sum(each.model == two.two and not each.ok for each in clients.sent())
    assert refused > 0
    assert {slot: counts.errors for slot, counts in found.items()} == {"a": 0, "b": 0}
    assert {slot: counts.rejected for slot, counts in found.items()} == {"a": 0, "b": refused}


@pytest.mark.parametrize("two", ["streams"], indirect=True)
async def test_streams_of_25_seconds_outlive_their_slots_weight_and_its_servers_end(rig: Rig, two: TwoSlots) -> None:
    two.stage.model("v1", itl_ms=1000, jitter=0)
    with rig.clients(rate_rps=4, tokens=STREAM_TOKENS, endpoint="streams") as clients:
        await asyncio.sleep(5)
        await two.weigh(0, 100)
        left = asyncio.create_task(finished(two.platform.stop, two.slot("a"), fence=FENCE))
        await asyncio.sleep(1)
    assert clients.failed() == []
    longest = [each.ended - each.begun for each in clients.sent() if each.model == two.one]
    assert len(longest) > 10
    assert min(longest) > STREAM_TOKENS - 2, "they were as long as they should be"
    await left
    assert two.stage.pods("a") == []


def test_a_good_release_is_promoted_and_no_client_notices(rig: Rig, tmp_path: Path) -> None:
    stage = stage_of(rig, tmp_path, "good")
    two = stage.model("v2")
    with rig.clients(rate_rps=RATE_RPS, endpoint="good") as clients:
        clients.wait_for_answers()
        stage.declare("v2")
        stage.run("apply", ENVIRONMENT, "--yes")
        done = len(clients.sent())
        clients.wait_for_answers(done + 50)
    assert clients.failed() == []
    assert {each.model for each in clients.sent()[done + 20 :]} == {two}
    assert stage.weight("b") == 100


def test_errors_that_go_from_1_to_5_percent_at_10_percent_of_the_traffic_roll_back(rig: Rig, tmp_path: Path) -> None:
    stage = stage_of(rig, tmp_path, "bad", steps_pct=[10])
    one, bad = stage.model("v1", error_rate=0.01), stage.model("bad", error_rate=0.05)
    with rig.clients(rate_rps=RATE_RPS, endpoint="bad") as clients:
        clients.wait_for_answers()
        stage.declare("bad")
        said = stage.run("apply", ENVIRONMENT, "--yes", code=4)
        begun = max(each.begun for each in clients.sent())
        clients.wait_for_answers(len(clients.sent()) + 50)
    assert "error" in said
    assert lost(clients) == []
    assert {each.model for each in clients.sent(begun + 0.5)} == {one}
    assert any(each.model == bad and not each.ok for each in clients.sent())
    assert stage.weight("a") == 100


def drain(stage: Stage, machine: str) -> None:
    """Take every server off a machine, as `kubectl drain` does: cordon it, evict, try again where a budget says no."""
    api = stage.rig.plane.api
    node: Body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": machine}}
    api.merge({**node, "spec": {"unschedulable": True}}, manager="kubectl")
    try:
        stage.until(f"{machine} to be empty", lambda: not _evicted(stage, machine))
    finally:
        api.merge({**node, "spec": {"unschedulable": None}}, manager="kubectl")


def _evicted(stage: Stage, machine: str) -> list[Body]:
    api = stage.rig.plane.api
    there = [pod for pod in api.list("v1", "Pod", stage.namespace) if pod["spec"].get("nodeName") == machine]
    for pod in there:
        try:
            api.evict(pod["metadata"]["name"], pod["metadata"]["namespace"])
        except ApiError as refused:
            if refused.code not in (404, 429):
                raise
    return there


def in_the_canary(stage: Stage, clients: Clients) -> subprocess.Popen[str]:
    """Begin a rollout of v2; return when a tenth of the traffic is its own."""
    clients.wait_for_answers()
    stage.declare("v2")
    command = stage.begin("apply", ENVIRONMENT, "--yes", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    stage.until("the canary to begin", lambda: stage.weight("b") == 10 or command.poll() is not None)
    return command


def test_a_machine_is_drained_in_the_middle_of_a_canary(rig: Rig, tmp_path: Path) -> None:
    """It has one of the champion's servers."""
    stage = stage_of(rig, tmp_path, "drained", steps_pct=[10], step_min_s=15)
    stage.model("v2")
    before = {pod["metadata"]["name"] for pod in stage.pods("a")}
    with rig.clients(rate_rps=100, endpoint="drained") as clients:
        command = in_the_canary(stage, clients)
        machine = min(stage.machines_of("a") - stage.machines_of("b"))  # slots are spread over three machines
        drain(stage, machine)
        said, _ = command.communicate(timeout=300)
    assert command.returncode == 0, said
    assert clients.failed() == []
    assert before != {pod["metadata"]["name"] for pod in stage.pods("a")}
    assert stage.weight("b") == 100


def test_an_autoscaler_adds_servers_in_the_middle_of_a_canary(rig: Rig, tmp_path: Path) -> None:
    stage = stage_of(rig, tmp_path, "scaled", steps_pct=[10], step_min_s=10)
    two = stage.model("v2")
    with rig.clients(rate_rps=100, endpoint="scaled") as clients:
        command = in_the_canary(stage, clients)
        metadata = {"name": slot_object("scaled", "b"), "namespace": stage.namespace}
        body: Body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": 3}}
        rig.plane.api.merge(body, manager="keda", subresource="scale")
        said, _ = command.communicate(timeout=300)
    assert command.returncode == 0, said
    assert clients.failed() == []
    assert len(stage.pods("b")) == 3
    assert clients.ok()[two] > 0
