"""Machines: encrypted with a key that Auto Scaling can use, bought as declared, in zones that have them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from components.gpu_node_group import GpuNodeGroup, GpuNodeGroupArgs
from components.karpenter import Karpenter, KarpenterArgs
from components.node_pools import ZONE_ID, GpuPoolArgs, NodePools, NodePoolsArgs, shares
from components.nodes import Nodes, NodesArgs
from environments.infrastructure import SystemNodesSpec
from environments.names import GPU_RESOURCE, GPU_TAINT, POOL_LABEL
from environments.spec import GpuPool, NodeBounds
from tests.components.mocked import ACCOUNT, OWNED, SUPPORT, Made, Recorded, make
from tests.support import iam_rules

ZONES = ("euc1-az2", "euc1-az3")


def nodes() -> Recorded:
    args = NodesArgs(
        region="eu-central-1",
        account=ACCOUNT,
        cluster_name="cluster",
        version="1.35",
        subnet_ids=["subnet-1"],
        spec=SystemNodesSpec(),
        deletion_protection=True,
        owned=OWNED,
    )
    return make(lambda: Nodes("nodes", args))


def pool(**fields: Any) -> GpuPool:
    bounds = NodeBounds(min=fields.pop("low", 2), max=fields.pop("high", 6))
    return GpuPool(gpu="L4", instance="g6.2xlarge", gpus_per_node=1, vram_gib=24, nodes=bounds, **fields)


def reserved(**fields: Any) -> Recorded:
    spec = pool(**({"capacity": "reserved", "capacity_reservation": "cr-0123", "zones": ["euc1-az2"]} | fields))
    args = GpuNodeGroupArgs("l4", spec, "cluster", "1.35", "arn:node", ["subnet-2"], "sg-1", "arn:key", OWNED)
    return make(lambda: GpuNodeGroup("pool", args))


def pools(spec: GpuPool) -> Recorded:
    args = NodePoolsArgs(
        profile="profile",
        subnet_ids={zone: f"subnet-{zone}" for zone in ZONES},
        security_group_id="sg-1",
        disk_key_arn="arn:disks",
        system=SystemNodesSpec(),
        pools={"l4": GpuPoolArgs(spec, ZONES, SUPPORT)},
        owned=OWNED,
    )
    return make(lambda: NodePools("pools", args))


def gpu_pools(spec: GpuPool) -> list[Made]:
    return [m for m in pools(spec).of("NodePool") if m.at("spec.template.spec.taints")]


def requirements(made: Made) -> dict[str, list[str]]:
    return {r["key"]: r["values"] for r in made.at("spec.template.spec.requirements")}


@pytest.mark.parametrize("who", ["aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling", "any"])
def test_auto_scaling_can_use_the_key_of_the_disks(who: str) -> None:
    key = nodes().one("aws:kms/key:Key")
    through = {"kms:ViaService": "ec2.eu-central-1.amazonaws.com", "kms:CallerAccount": ACCOUNT}
    for action in ("kms:CreateGrant", "kms:GenerateDataKeyWithoutPlaintext", "kms:Decrypt", "kms:ReEncryptFrom"):
        asked = iam_rules.Call(f"arn:aws:iam::{ACCOUNT}:role/{who}", action, "*", through)
        assert iam_rules.allows(key.inputs["policy"], asked)
        assert not iam_rules.allows(key.inputs["policy"], iam_rules.Call(asked.principal, action, "*", {}))


def test_every_node_needs_a_token_for_metadata_and_has_an_encrypted_disk() -> None:
    for made in (nodes(), reserved()):
        template = made.one("LaunchTemplate")
        assert template.at("metadataOptions.httpTokens") == "required"
        assert template.at("metadataOptions.httpPutResponseHopLimit") == 1
        disk = template.at("blockDeviceMappings.0.ebs")
        assert (disk["encrypted"], disk["volumeType"]) == ("true", "gp3")
        assert disk["kmsKeyId"]
    for node_class in pools(pool()).of("EC2NodeClass"):
        assert node_class.at("spec.metadataOptions.httpTokens") == "required"
        disk = node_class.at("spec.blockDeviceMappings.0.ebs")
        assert (disk["encrypted"], disk["kmsKeyID"]) == (True, "arn:disks")


def test_machine_images_are_brought_up_to_date() -> None:
    group = nodes().one("NodeGroup")
    assert (group.inputs["version"], group.inputs["releaseVersion"]) == ("1.35", "1.35.1-20261101")
    for made in pools(pool()).of("EC2NodeClass"):
        assert made.at("spec.amiSelectorTerms") == [{"alias": "al2023@latest"}]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (pool(), [("on-demand", ("on-demand",), 6)]),
        (pool(capacity="spot", on_demand_floor=4), [("floor", ("on-demand",), 4), ("spot", ("spot", "on-demand"), 2)]),
        (pool(capacity="spot", on_demand_floor=6), [("floor", ("on-demand",), 6)]),
        (pool(capacity="spot", low=0, high=4), [("spot", ("spot", "on-demand"), 4)]),
    ],
)
def test_a_pool_is_bought_as_declared(spec: GpuPool, expected: list[tuple[str, tuple[str, ...], int]]) -> None:
    assert [(s.suffix, s.capacity_types, s.gpus) for s in shares(spec)] == expected
    made = gpu_pools(spec)
    assert [(m.at("metadata.name"), m.at("spec.limits")) for m in made] == [
        (f"l4-{suffix}", {GPU_RESOURCE: str(gpus)}) for suffix, _, gpus in expected
    ]
    assert [tuple(requirements(m)["karpenter.sh/capacity-type"]) for m in made] == [types for _, types, _ in expected]


def test_the_floor_is_filled_before_spot() -> None:
    weights = {m.at("metadata.name"): m.at("spec.weight") for m in gpu_pools(pool(capacity="spot", on_demand_floor=1))}
    assert weights["l4-floor"] > weights["l4-spot"]


def test_a_pool_takes_any_of_its_types_in_any_zone_that_has_them() -> None:
    (made,) = gpu_pools(pool(instances=["g6.4xlarge"]))
    asked = requirements(made)
    assert asked["node.kubernetes.io/instance-type"] == ["g6.2xlarge", "g6.4xlarge"]
    assert asked[ZONE_ID] == list(ZONES)


def test_gpu_nodes_are_labelled_and_closed_to_other_pods() -> None:
    for made in gpu_pools(pool(capacity="spot", on_demand_floor=1)):
        assert made.at("spec.template.metadata.labels")[POOL_LABEL] == "l4"
        assert made.at("spec.template.spec.taints") == [{"key": GPU_TAINT, "value": "present", "effect": "NoSchedule"}]
    group = reserved().one("NodeGroup")
    assert group.inputs["labels"][POOL_LABEL] == "l4"
    assert group.inputs["taints"] == [{"key": GPU_TAINT, "value": "present", "effect": "NO_SCHEDULE"}]


def test_no_machine_with_a_slot_on_it_is_taken_to_save_money() -> None:
    (made,) = gpu_pools(pool())
    assert made.at("spec.disruption.consolidationPolicy") == "WhenEmpty"
    assert made.at("spec.template.spec.expireAfter") == "Never"
    assert {"nodes": "1", "reasons": ["Drifted"]} in made.at("spec.disruption.budgets")


def test_a_pool_that_one_team_uses_is_on_that_teams_bill() -> None:
    classes = {m.at("metadata.name"): m.at("spec.tags") for m in pools(pool()).of("EC2NodeClass")}
    assert (classes["l4"]["team"], classes["system"]["team"]) == ("support", "platform")


def test_weights_are_unpacked_on_the_machines_own_nvme() -> None:
    assert all(m.at("spec.instanceStorePolicy") == "RAID0" for m in pools(pool()).of("EC2NodeClass"))
    text = base64.b64decode(reserved().one("LaunchTemplate").inputs["userData"]).decode()
    assert "strategy: RAID0" in text


def test_a_reserved_pool_starts_in_its_reservation_and_makes_nothing_wait_for_machines() -> None:
    made = reserved()
    target = made.one("LaunchTemplate").at("capacityReservationSpecification.capacityReservationTarget")
    assert target == {"capacityReservationId": "cr-0123"}
    group = made.one("NodeGroup")
    assert group.inputs["scalingConfig"] == {"minSize": 0, "maxSize": 6, "desiredSize": 0}
    assert (group.inputs["capacityType"], group.inputs["subnetIds"]) == ("ON_DEMAND", ["subnet-2"])


def test_a_capacity_block_is_bought_as_one() -> None:
    made = reserved(capacity="capacity_block")
    assert made.one("NodeGroup").inputs["capacityType"] == "CAPACITY_BLOCK"
    assert made.one("LaunchTemplate").at("instanceMarketOptions.marketType") == "capacity-block"


def test_nodes_of_one_model_stand_together_with_adapters() -> None:
    made = reserved(efa=True)
    assert made.one("PlacementGroup").inputs["strategy"] == "cluster"
    template = made.one("LaunchTemplate")
    assert template.at("networkInterfaces.0.interfaceType") == "efa"
    assert template.at("placement.groupName")


def karpenter() -> Recorded:
    def program() -> None:
        import pulumi_aws as aws

        role = aws.iam.Role("node", assume_role_policy="{}")
        Karpenter("karpenter", KarpenterArgs("eu-central-1", ACCOUNT, "sluice-prod", "sluice-prod", role, OWNED))

    return make(program)


def test_karpenter_hears_of_a_reclaim_before_it_happens() -> None:
    made = karpenter()
    patterns = [json.loads(m.inputs["eventPattern"])["detail-type"][0] for m in made.of("EventRule")]
    assert "EC2 Spot Instance Interruption Warning" in patterns
    assert len(made.of("EventTarget")) == len(patterns)
    writers = json.loads(made.one("QueuePolicy").inputs["policy"])["Statement"][0]
    assert "events.amazonaws.com" in writers["Principal"]["Service"]


def test_karpenters_machines_have_no_entry_of_their_own_because_their_role_has_one() -> None:
    assert not karpenter().of("AccessEntry")
