"""Clusters and GPU pools: private, encrypted, logged; bought as the spec says and closed to other pods."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.addons import Addons, AddonsArgs, Certificates
from components.cluster import Cluster, ClusterArgs
from components.gpu_node_group import GpuNodeGroup, GpuNodeGroupArgs, shares
from environments.infrastructure import SystemNodesSpec
from environments.names import CONTROLLER_GROUP, GPU_TAINT, POOL_LABEL, cluster_name
from environments.spec import GpuPool, NodeBounds
from tests.components.mocked import ACCOUNT, OWNED, Recorded, make

ADMIN = f"arn:aws:iam::{ACCOUNT}:role/admin"


def cluster() -> Recorded:
    args = ClusterArgs(
        region="eu-west-1",
        version="1.33",
        subnet_ids=["subnet-1", "subnet-2"],
        admins=[ADMIN],
        controller_role_arn="arn:controllers",
        nodes=SystemNodesSpec(),
        log_retention_days=365,
        deletion_protection=True,
        owned=OWNED,
    )
    return make(lambda: Cluster("cluster", args))


def pool(**fields: Any) -> GpuPool:
    bounds = NodeBounds(min=fields.pop("low", 2), max=fields.pop("high", 6))
    return GpuPool(gpu="L4", instance="g6.2xlarge", gpus_per_node=1, vram_gib=24, nodes=bounds, **fields)


def gpus(spec: GpuPool) -> Recorded:
    args = GpuNodeGroupArgs("l4", spec, "cluster", "arn:node", ["subnet-1"], "arn:key", OWNED)
    return make(lambda: GpuNodeGroup("pool", args))


def test_the_cluster_is_called_what_the_reconciler_expects() -> None:
    assert cluster().one("aws:eks/cluster:Cluster").inputs["name"] == cluster_name("prod", "eu-west-1")


def test_the_api_server_is_private_and_its_secrets_are_encrypted() -> None:
    made = cluster().one("aws:eks/cluster:Cluster")
    assert (made.at("vpcConfig.endpointPrivateAccess"), made.at("vpcConfig.endpointPublicAccess")) == (True, False)
    assert made.at("encryptionConfig.resources") == ["secrets"]
    assert set(made.inputs["enabledClusterLogTypes"]) >= {"api", "audit", "authenticator"}
    assert made.inputs["deletionProtection"] is True


def test_people_and_controllers_get_in_by_access_entries() -> None:
    entries = {e.inputs["principalArn"]: e.inputs["kubernetesGroups"] for e in cluster().of("AccessEntry")}
    assert entries == {ADMIN: [], "arn:controllers": [CONTROLLER_GROUP]}


def test_nodes_need_a_token_for_metadata_and_have_encrypted_disks() -> None:
    for made in (cluster(), gpus(pool())):
        template = made.one("LaunchTemplate")
        assert template.at("metadataOptions.httpTokens") == "required"
        assert template.at("metadataOptions.httpPutResponseHopLimit") == 1
        disk = template.at("blockDeviceMappings.0.ebs")
        assert (disk["encrypted"], disk["volumeType"]) == ("true", "gp3")
        assert disk["kmsKeyId"]


def test_pod_identity_and_network_policies_are_on() -> None:
    addons = {a.inputs["addonName"]: a for a in cluster().of("Addon")}
    assert "eks-pod-identity-agent" in addons
    assert json.loads(addons["vpc-cni"].inputs["configurationValues"]) == {"enableNetworkPolicy": "true"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (pool(), [("ON_DEMAND", 2, 6)]),
        (pool(capacity="spot"), [("SPOT", 2, 6)]),
        (pool(capacity="spot", on_demand_floor=1), [("ON_DEMAND", 1, 1), ("SPOT", 1, 5)]),
        (pool(capacity="spot", on_demand_floor=4), [("ON_DEMAND", 4, 4), ("SPOT", 0, 2)]),
        (pool(capacity="spot", on_demand_floor=6), [("ON_DEMAND", 6, 6)]),
        (pool(capacity="reserved", capacity_reservation="cr-0123"), [("ON_DEMAND", 2, 6)]),
        (pool(capacity="spot", low=0, high=4), [("SPOT", 0, 4)]),
    ],
)
def test_a_pool_is_bought_as_declared(spec: GpuPool, expected: list[tuple[str, int, int]]) -> None:
    assert [(s.capacity_type, s.min, s.max) for s in shares(spec)] == expected
    made = gpus(spec).of("NodeGroup")
    found = [(g.inputs["capacityType"], g.at("scalingConfig.minSize"), g.at("scalingConfig.maxSize")) for g in made]
    assert sorted(found) == sorted(expected)
    assert sum(s.max for s in shares(spec)) == spec.nodes.max


def test_gpu_nodes_are_labelled_and_closed_to_other_pods() -> None:
    for group in gpus(pool(capacity="spot", on_demand_floor=1)).of("NodeGroup"):
        assert group.inputs["labels"][POOL_LABEL] == "l4"
        assert group.inputs["taints"] == [{"key": GPU_TAINT, "value": "present", "effect": "NO_SCHEDULE"}]
        assert "NVIDIA" in group.inputs["amiType"]


def test_a_reserved_pool_starts_in_its_reservation() -> None:
    made = gpus(pool(capacity="reserved", capacity_reservation="cr-0123")).one("LaunchTemplate")
    target = made.at("capacityReservationSpecification.capacityReservationTarget")
    assert target == {"capacityReservationId": "cr-0123"}


def addons(*, has_gpus: bool = True, certificates: Certificates | None = None) -> Recorded:
    args = AddonsArgs(
        region="eu-west-1",
        account=ACCOUNT,
        cluster_name="sluice-prod-eu-west-1",
        eks_name="sluice-prod-eu-west-1",
        has_gpus=has_gpus,
        replicas=2,
        certificates=certificates,
        alert_topic_arns=["arn:topic"],
        owned=OWNED,
    )
    return make(lambda: Addons("addons", args))


def test_every_chart_is_pinned_and_waits_until_it_works() -> None:
    charts = addons(certificates=Certificates("Z1", "ops@example.com")).of("Release")
    assert {c.inputs["chart"].rpartition("/")[2] for c in charts} == {
        "gateway-helm", "keda", "kube-prometheus-stack", "cluster-autoscaler", "cert-manager",
        "nvidia-device-plugin", "dcgm-exporter",
    }  # fmt: skip
    assert all(c.inputs["version"] and c.inputs["atomic"] for c in charts)


def test_a_cluster_without_gpus_gets_no_gpu_charts() -> None:
    assert not {"nvidia-device-plugin", "dcgm-exporter"} & {
        c.inputs["chart"] for c in addons(has_gpus=False).of("Release")
    }


def test_rights_of_addons_name_what_they_may_change() -> None:
    for policy in addons(certificates=Certificates("Z1", "ops@example.com")).of("RolePolicy"):
        for statement in json.loads(policy.inputs["policy"])["Statement"]:
            if "*" in statement["Resource"]:
                assert all(action.startswith("autoscaling:Describe") for action in statement["Action"])
