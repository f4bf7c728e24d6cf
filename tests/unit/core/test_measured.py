"""Measured capacity stands in a plan, scaled to the declared replicas, and never makes a saved plan another one."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from environments.errors import SluiceError
from environments.names import Address
from environments.spec import EnvironmentSpec
from reconciler.core.model.observed import ObservedState
from reconciler.core.plan.measured import MeasuredCapacity, Measurement, measured_capacity
from reconciler.core.plan.plan import Plan, World, changes_of, make_plan, plan_from_json, plan_to_json
from reconciler.output.plan_text import measured_line
from tests.support.builders.releases import desired, release

POOL = {
    "gpu": "L4",
    "instance": "g6.2xlarge",
    "gpus_per_node": 1,
    "vram_gib": 24,
    "nodes": {"min": 1, "max": 9},
}
WANTED = release("two")
AT = "2026-11-21T10:00:00.000Z"
CHAT, ELSEWHERE = Address("test", "local", "chat"), Address("test", "gone", "chat")


def spec(few: int = 2, many: int = 8) -> EnvironmentSpec:
    chat = {"team": "t", "runtime": "vllm", "replicas": {"min": few, "max": many}, "release": {"model": "file:m"}}
    region = {"platform": "local", "gateway_port": 18080, "serve_command": ["x"], "gpu_pools": {"l4": POOL}}
    return EnvironmentSpec.model_validate(
        {
            "environment": "test",
            "owner": "us",
            "store": "sqlite:///x.db",
            "regions": {"local": region},
            "endpoints": {"chat": {**chat, "pool": "l4"}},
        }
    )


def measurement(rate_rps: float = 24.0, *, replicas: int = 1, of: str = WANTED.id) -> Measurement:
    return Measurement(rate_rps, replicas, of, AT)


def found(past: Measurement, few: int = 2, many: int = 8) -> MeasuredCapacity:
    [only] = measured_capacity(spec(few, many), desired(WANTED), {CHAT: past})
    return only


def plan_with(measured: Mapping[Address, Measurement]) -> Plan:
    world = World(spec(), desired(WANTED), ObservedState(), {}, measured=measured)
    return make_plan(world, changes_of(world), [], AT)


def test_what_one_replica_carries_is_scaled_to_the_bounds() -> None:
    assert (found(measurement()).measured_rps, found(measurement()).carries_rps) == (24.0, (48.0, 192.0))
    shared = found(measurement(60.0, replicas=3))
    assert (shared.measured_rps, shared.carries_rps) == (20.0, (40.0, 160.0))


def test_only_what_was_measured_and_is_planned_is_said() -> None:
    assert measured_capacity(spec(), desired(WANTED), {ELSEWHERE: measurement()}) == ()
    assert plan_to_json(plan_with({}))["capacity"] == list(plan_with({}).review.pools)


def test_measuring_again_leaves_the_digest_as_it_was() -> None:
    unmeasured = plan_with({})
    for past in (measurement(), measurement(0.0), measurement(of="chat-0000000000")):
        plan = plan_with({CHAT: past})
        assert plan.review.measured
        assert plan.digest == unmeasured.digest


def test_a_plan_keeps_it_beside_what_the_pools_need() -> None:
    plan = plan_with({CHAT: measurement(22.6274)})
    data = json.loads(json.dumps(plan_to_json(plan)))
    line = next(line for line in data["capacity"] if "address" in line)
    assert line == {
        "address": "test/local/chat",
        "measured_rps": 22.627,
        "release": WANTED.id,
        "planned": WANTED.id,
        "measured_at": AT,
        "replicas_min": 2,
        "replicas_max": 8,
        "carries_rps": [45.254, 181.016],
    }
    assert plan_from_json(data) == plan
    line["carries_rps"] = [1000.0, 2000.0]
    with pytest.raises(SluiceError, match="PLAN-002"):
        plan_from_json(data)
    del line["release"]
    with pytest.raises(SluiceError, match="PLAN-001"):
        plan_from_json(data)


SOURCE = f"requests/s a replica ({WANTED.id}, 2026-11-21)"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (found(measurement()), f"up to 24 {SOURCE}: 2 to 8 replicas carry 48 to 192"),
        (found(measurement(22.6274), 3, 3), f"up to 22.63 {SOURCE}: 3 replicas carry 67.88"),
        (found(measurement(), 1, 1), "1 replica carries that"),
        (found(measurement(of="chat-0")), f"(chat-0, 2026-11-21; not the planned {WANTED.id}): 2 to 8"),
        (found(measurement(0.0)), f"broke its slo at the lowest rate that was tried ({WANTED.id}, 2026-11-21)"),
    ],
    ids=["bounds", "fixed", "one", "another release", "none"],
)
def test_how_it_reads(line: MeasuredCapacity, said: str) -> None:
    text = measured_line(line)
    assert text.startswith("test/local/chat  ")
    assert said in text
