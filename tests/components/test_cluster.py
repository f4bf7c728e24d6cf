"""Clusters: private, encrypted, logged, and open to those that the environment names and nobody by accident."""

from __future__ import annotations

from typing import Any

import pytest

from components.cluster import Cluster, ClusterArgs
from components.cluster_addons import AFTER_NODES, BEFORE_NODES, LOGS, ClusterAddons, ClusterAddonsArgs, PodLogs
from components.rights import log_groups
from environments.names import CONTROLLER_GROUP, cluster_name
from tests.components.mocked import ACCOUNT, OWNED, Recorded, make

ADMIN = f"arn:aws:iam::{ACCOUNT}:role/admin"


def cluster(**fields: Any) -> Recorded:
    given: dict[str, Any] = {
        "region": "eu-central-1",
        "version": "1.35",
        "subnet_ids": ["subnet-1", "subnet-2"],
        "admins": [ADMIN],
        "controller_role_arn": "arn:controllers",
        "api_cidrs": [],
        "api_public_cidrs": [],
        "log_retention_days": 365,
        "deletion_protection": True,
        "owned": OWNED,
    }
    return make(lambda: Cluster("cluster", ClusterArgs(**(given | fields))))


def test_the_cluster_is_called_what_the_reconciler_expects() -> None:
    assert cluster().one("aws:eks/cluster:Cluster").inputs["name"] == cluster_name("prod", "eu-central-1")


def test_the_api_server_is_private_and_its_secrets_are_encrypted() -> None:
    made = cluster().one("aws:eks/cluster:Cluster")
    assert (made.at("vpcConfig.endpointPrivateAccess"), made.at("vpcConfig.endpointPublicAccess")) == (True, False)
    assert made.at("encryptionConfig.resources") == ["secrets"]
    assert set(made.inputs["enabledClusterLogTypes"]) >= {"api", "audit", "authenticator"}
    assert made.inputs["deletionProtection"] is True


def test_a_version_is_left_when_its_standard_support_ends() -> None:
    assert cluster().one("aws:eks/cluster:Cluster").at("upgradePolicy.supportType") == "STANDARD"


def test_people_and_controllers_get_in_by_access_entries() -> None:
    entries = {e.inputs["principalArn"]: e.inputs["kubernetesGroups"] for e in cluster().of("AccessEntry")}
    assert entries == {ADMIN: [], "arn:controllers": [CONTROLLER_GROUP]}


def test_whoever_makes_the_cluster_gets_no_entry_beside_the_declared_ones() -> None:
    made = cluster().one("aws:eks/cluster:Cluster")
    assert made.at("accessConfig.bootstrapClusterCreatorAdminPermissions") is False


def test_the_ranges_that_are_named_reach_the_api_server_and_no_others() -> None:
    assert not cluster().of("SecurityGroupIngressRule")
    made = cluster(api_cidrs=["10.99.0.0/16"], api_public_cidrs=["198.51.100.7/32"])
    rule = made.one("SecurityGroupIngressRule").inputs
    assert (rule["cidrIpv4"], rule["fromPort"], rule["toPort"]) == ("10.99.0.0/16", 443, 443)
    config = made.one("aws:eks/cluster:Cluster").at("vpcConfig")
    assert (config["endpointPublicAccess"], config["publicAccessCidrs"]) == (True, ["198.51.100.7/32"])


def test_logs_of_pods_have_their_groups_before_anything_writes_there() -> None:
    groups = {g.inputs["name"]: g.inputs["retentionInDays"] for g in cluster().of("LogGroup")}
    assert set(groups) > set(log_groups(cluster_name("prod", "eu-central-1")))
    assert set(groups.values()) == {365}


def addons(wanted: tuple[str, ...]) -> Recorded:
    def program() -> None:
        import pulumi

        logs = PodLogs("eu-central-1", pulumi.Output.from_input(ACCOUNT), "sluice-prod-eu-central-1")
        ClusterAddons("addons", ClusterAddonsArgs("cluster", "1.35", wanted, logs, OWNED))

    return make(program)


@pytest.mark.parametrize("wanted", [tuple(BEFORE_NODES), AFTER_NODES])
def test_addons_have_a_version_that_each_up_brings_up_to_date(wanted: tuple[str, ...]) -> None:
    made = addons(wanted).of("Addon")
    assert {a.inputs["addonName"] for a in made} == set(wanted)
    assert all(a.inputs["addonVersion"] for a in made)


def test_pod_identity_and_network_policies_are_there_before_any_node() -> None:
    assert "eks-pod-identity-agent" in BEFORE_NODES
    assert BEFORE_NODES["vpc-cni"]["enableNetworkPolicy"] == "true"


def test_disks_of_pods_say_who_pays_for_them() -> None:
    storage = next(a for a in addons(AFTER_NODES).of("Addon") if "ebs" in a.inputs["addonName"])
    assert '"environment": "prod"' in storage.inputs["configurationValues"]


def test_pod_logs_are_shipped_without_metrics_that_cost_more_than_the_cluster() -> None:
    shipper = next(a for a in addons(AFTER_NODES).of("Addon") if a.inputs["addonName"] == LOGS)
    assert '"metrics_collected": {}' in shipper.inputs["configurationValues"]
    assert shipper.at("podIdentityAssociations.0.serviceAccount") == "cloudwatch-agent"
