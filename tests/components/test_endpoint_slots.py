"""Slots: two of everything but Deployments, which are the reconciler's; autoscaling that cannot strand an endpoint."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.endpoint_slots import EndpointSlots, EndpointSlotsArgs, scaling, scraping
from components.rights import read_models
from components.sagemaker_endpoint import SageMakerEndpoint, SageMakerEndpointArgs
from environments.infrastructure import AlarmsSpec, WorkingHoursSpec
from environments.names import PROXY_NAMESPACE, SLOTS, sagemaker_endpoint, slot_labels, slot_object
from environments.spec import EndpointSpec, ReleaseSpec, Replicas, SloSpec
from tests.components.mocked import ACCOUNT, SUPPORT, Recorded, make


def endpoint(*, runtime: Any = "vllm", low: int = 2, high: int = 8) -> EndpointSpec:
    return EndpointSpec(
        team="support",
        runtime=runtime,
        pool="l4",
        replicas=Replicas(min=low, max=high),
        slo=SloSpec(ttft_p95_ms=800, error_rate=0.02),
        release=ReleaseSpec(model="mlflow:chat-llm/7", engine={"max_num_seqs": 64}),
    )


def arguments(spec: EndpointSpec) -> EndpointSlotsArgs:
    return EndpointSlotsArgs(
        endpoint="chat",
        spec=spec,
        region="eu-central-1",
        namespace="support-prod",
        namespace_name="support-prod",
        prometheus="http://prometheus:9090",
        api_cidrs=["10.30.0.0/18"],
        hours=WorkingHoursSpec(timezone="Europe/Berlin", start=8, end=18),
        eks_name="cluster",
        bucket_arns=["arn:bucket"],
        key_arns=["arn:key"],
        owned=SUPPORT,
    )


def slots(**fields: Any) -> Recorded:
    return make(lambda: EndpointSlots("chat", arguments(endpoint(**fields))))


def test_deployments_and_routes_are_left_to_the_reconciler() -> None:
    made = slots()
    assert not [m.type for m in made.made if m.type.endswith((":Deployment", ":HTTPRoute"))]


def test_each_slot_has_a_service_that_finds_its_own_pods_alone() -> None:
    services = {s.at("metadata.name"): s.at("spec.selector") for s in slots().of("Service")}
    assert services == {slot_object("chat", slot): slot_labels("chat", slot) for slot in SLOTS}
    assert len({json.dumps(v, sort_keys=True) for v in services.values()}) == len(SLOTS)


def test_a_drain_takes_one_pod_of_a_slot_at_a_time() -> None:
    budgets = slots().of("PodDisruptionBudget")
    assert [b.at("spec.maxUnavailable") for b in budgets] == [1, 1]
    assert [b.at("spec.selector.matchLabels") for b in budgets] == [slot_labels("chat", s) for s in SLOTS]


@pytest.mark.parametrize(("runtime", "port"), [("vllm", 8000), ("triton", 8002)])
def test_pods_are_reached_by_gateway_controllers_api_server_and_prometheus_alone(runtime: str, port: int) -> None:
    calls, scrapes, proxied = slots(runtime=runtime).one("NetworkPolicy").at("spec.ingress")
    assert proxied["from"] == [{"ipBlock": {"cidr": "10.30.0.0/18"}}]
    names = [f["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for f in calls["from"]]
    assert names == [PROXY_NAMESPACE, "sluice-system"]
    assert [p["port"] for p in scrapes["ports"]] == [port]


def test_models_can_be_read_and_not_written() -> None:
    actions = [a for s in json.loads(read_models(["arn:bucket"], ["arn:key"]))["Statement"] for a in s["Action"]]
    assert actions
    assert not [a for a in actions if a.startswith(("s3:Put", "s3:Delete", "kms:Encrypt"))]


def test_replicas_follow_the_slots_own_waiting_requests() -> None:
    spec = scaling(arguments(endpoint()), "b")
    assert spec["scaleTargetRef"]["name"] == "chat-b"
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 8)
    query = spec["triggers"][0]["metadata"]["query"]
    assert "vllm:num_requests_waiting" in query
    assert 'slot="b"' in query
    assert 'sluice_endpoint="chat"' in query


def test_full_servers_are_not_taken_away_because_nothing_waits() -> None:
    triggers = {t["name"]: t["metadata"] for t in scaling(arguments(endpoint()), "b")["triggers"]}
    assert "vllm:num_requests_running" in triggers["running"]["query"]
    assert triggers["running"]["threshold"] == str(int(0.7 * 64))


def test_what_scales_to_zero_is_woken_by_the_clock() -> None:
    triggers = {t["type"]: t["metadata"] for t in scaling(arguments(endpoint(low=0, high=1)), "a")["triggers"]}
    assert triggers["cron"]["timezone"] == "Europe/Berlin"
    assert (triggers["cron"]["start"], triggers["cron"]["end"]) == ("0 8 * * 1-5", "0 18 * * 1-5")
    assert "cron" not in {t["type"] for t in scaling(arguments(endpoint()), "a")["triggers"]}


def test_silence_of_prometheus_scales_nothing_down() -> None:
    assert scaling(arguments(endpoint()), "a")["fallback"]["behavior"] == "currentReplicas"


def test_every_sample_says_whose_it_is() -> None:
    relabelings = scraping("chat", "prod", "eu-central-1", 8000)["podMetricsEndpoints"][0]["relabelings"]
    assert {r["targetLabel"] for r in relabelings} == {"environment", "region", "sluice_endpoint", "slot", "release"}


def sagemaker(*, autoscaling: bool = True) -> Recorded:
    args = SageMakerEndpointArgs(
        endpoint="chat",
        spec=endpoint(),
        region="ap-northeast-1",
        account=ACCOUNT,
        bucket_arn="arn:bucket",
        key_arn="arn:key",
        topic_arn="arn:topic",
        alarms=AlarmsSpec(),
        autoscaling=autoscaling,
        owned=SUPPORT,
    )
    return make(lambda: SageMakerEndpoint("chat", args))


def test_the_sagemaker_endpoint_itself_is_left_to_the_reconciler() -> None:
    assert not [m.type for m in sagemaker().made if m.type.startswith("aws:sagemaker")]


def test_variants_scale_within_the_specs_bounds() -> None:
    targets = sagemaker().of("aws:appautoscaling/target:Target")
    name = sagemaker_endpoint("prod", "chat")
    assert {t.inputs["resourceId"] for t in targets} == {f"endpoint/{name}/variant/{slot}" for slot in SLOTS}
    assert {(t.inputs["minCapacity"], t.inputs["maxCapacity"]) for t in targets} == {(2, 8)}
    assert not sagemaker(autoscaling=False).of("aws:appautoscaling/target:Target")


def test_each_variant_alarms_at_what_the_endpoint_promises() -> None:
    alarms = {a.inputs["metricName"]: a for a in sagemaker().of("MetricAlarm")}
    assert len(sagemaker().of("MetricAlarm")) == 2 * len(SLOTS)
    assert alarms["Invocation5XXErrors"].inputs["threshold"] == 0.02
    assert alarms["Invocation5XXErrors"].inputs["treatMissingData"] == "notBreaching"
    assert all(a.inputs["alarmActions"] == ["arn:topic"] for a in alarms.values())


def test_the_execution_role_reads_one_bucket_and_our_images() -> None:
    policy = json.loads(sagemaker().one("RolePolicy").inputs["policy"])
    stars = [s["Action"] for s in policy["Statement"] if "*" in s["Resource"]]
    assert stars == [["ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"]]
    assert not [a for s in policy["Statement"] for a in s["Action"] if a.endswith(":*")]
