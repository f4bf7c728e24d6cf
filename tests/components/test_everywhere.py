"""What holds for everything that both stacks make, in every environment: tags, labels, digests, keys, names."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from components.declared import Declared, declared
from components.tags import REQUIRED_TAGS
from environments.aws_facts import READ_ON, support_ends
from environments.names import ENVIRONMENT_LABEL, TEAM_LABEL
from stacks.foundation.base import Base
from stacks.foundation.home import home_in
from stacks.foundation.joined import joined
from stacks.foundation.region import Region
from stacks.platform.cluster import PlatformCluster
from stacks.platform.registry import registry_in
from stacks.references import Foundation
from stacks.serving.clusters import ClusterRegion, controllers
from stacks.serving.variants import sagemaker_region
from tests.components.mocked import Made, Recorded, make
from tests.support.pulumi_engine.aws_schema import resource_type

ENVIRONMENTS = ("dev", "staging", "prod")
LABELS = {ENVIRONMENT_LABEL, TEAM_LABEL, "owner", "cost-center", "app.kubernetes.io/managed-by"}
BOTH = pytest.mark.parametrize("environment", ENVIRONMENTS)


def found(environment: str) -> Declared:
    return declared(environment, environ={}, start=Path(__file__).parent)


@cache
def foundation(environment: str) -> Recorded:
    """Return everything that the foundation's stack makes."""

    def program() -> None:
        base = Base(found(environment))
        regions = {name: Region(base, name) for name in base.found.regions}
        home_in(base, regions, joined(base, regions))

    return make(program)


@cache
def platform(environment: str) -> Recorded:
    """Return everything that the platform's stack makes."""

    def program() -> None:
        spec = found(environment)
        there = Foundation(spec)
        clusters = {name: PlatformCluster(spec, name, there) for name in spec.clusters}
        registry_in(spec, there, clusters[spec.primary])

    return make(program)


@cache
def serving(environment: str) -> Recorded:
    """Return everything that the serving stack makes."""

    def program() -> None:
        spec = found(environment)
        there = Foundation(spec)
        clusters = {name: ClusterRegion(spec, name, there) for name in spec.clusters}
        for region in spec.regions:
            if region not in clusters:
                sagemaker_region(spec, region, there)
        controllers(spec, clusters[spec.primary], there)

    return make(program)


def everything(environment: str) -> list[Made]:
    return [*foundation(environment).made, *platform(environment).made, *serving(environment).made]


@BOTH
def test_whatever_takes_tags_has_all_of_them(environment: str) -> None:
    for made in everything(environment):
        shape = resource_type(made.type)
        if shape is not None and "tags" in shape.inputs.hints:
            assert set(REQUIRED_TAGS) <= set(made.inputs.get("tags") or {}), f"{made.type} {made.name}"
            assert made.inputs["tags"]["environment"] == environment


@BOTH
def test_every_object_says_whose_it_is(environment: str) -> None:
    for recorded in (foundation(environment), platform(environment), serving(environment)):
        for made in recorded.objects():
            assert set(made.at("metadata.labels") or {}) >= LABELS, f"{made.type} {made.name}"


@BOTH
def test_names_fit_and_differ(environment: str) -> None:
    roles = [m for m in everything(environment) if m.type == "aws:iam/role:Role"]
    # An IAM role's name has at most 64 characters; eight of them are drawn where none is given.
    assert all(len(m.inputs.get("name") or f"{m.name}-1234567") <= 64 for m in roles), [m.name for m in roles]
    for recorded in (foundation(environment), platform(environment), serving(environment)):
        keys = [(m.type, m.name) for m in recorded.made]
        assert len(set(keys)) == len(keys)


@BOTH
def test_pods_run_images_by_digest_without_privileges(environment: str) -> None:
    pods = [m for m in everything(environment) if m.type == "kubernetes:apps/v1:Deployment"]
    assert {m.at("metadata.name") for m in pods} == {"mlflow", "sluice-controller"}
    for made in pods:
        for container in made.at("spec.template.spec.containers"):
            assert re.search(r"@sha256:[0-9a-f]{64}$", container["image"])
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


@BOTH
def test_no_right_is_for_everything(environment: str) -> None:
    for made in everything(environment):
        if made.type == "aws:iam/rolePolicy:RolePolicy":
            for statement in json.loads(made.inputs["policy"])["Statement"]:
                assert not [a for a in statement["Action"] if a == "*" or a.endswith(":*")]


@BOTH
def test_every_endpoint_of_a_cluster_has_alerts_and_a_page(environment: str) -> None:
    spec = found(environment)
    expected = {endpoint for region in spec.clusters for endpoint in spec.endpoints(region)}
    rules = {m.at("metadata.name").removeprefix("sluice-") for m in platform(environment).of("PrometheusRule")}
    pages = {m.at("metadata.name").removeprefix("dashboard-") for m in _pages(environment)}
    assert rules == pages == expected | {"platform"}


def _pages(environment: str) -> list[Made]:
    return [m for m in platform(environment).of("ConfigMap") if "grafana_dashboard" in m.at("metadata.labels")]


def test_prod_has_networks_where_it_has_clusters_and_they_meet_at_home() -> None:
    made = foundation("prod")
    assert {m.inputs["peerRegion"] for m in made.of("VpcPeeringConnection")} == {"us-east-1"}
    assert len(made.of("aws:ec2/vpc:Vpc")) == len(made.of("aws:eks/cluster:Cluster")) == 2
    assert len({m.inputs["cidrBlock"] for m in made.of("aws:ec2/vpc:Vpc")}) == 2
    assert len(made.of("NatGateway")) == 6


def test_dev_stands_on_one_nat_gateway_no_private_endpoints_and_spot() -> None:
    made = foundation("dev")
    assert len(made.of("NatGateway")) == 1
    assert [m.inputs["vpcEndpointType"] for m in made.of("VpcEndpoint")] == ["Gateway"]
    pools = [m for m in platform("dev").of("NodePool") if m.at("spec.template.spec.taints")]
    types = [r["values"] for m in pools for r in m.at("spec.template.spec.requirements") if "capacity" in r["key"]]
    assert types == [["spot", "on-demand"]]


def test_machines_and_balancers_are_on_the_bill_of_whoever_uses_them() -> None:
    classes = {m.at("metadata.name"): m.at("spec.tags") for m in platform("prod").of("EC2NodeClass")}
    assert {name: tags["team"] for name, tags in classes.items()} == {
        "system": "platform",
        "l4": "platform",  # several teams share it: OpenCost says who uses how much
        "l40s": "developer-tools",
    }
    budgets = {m.name for m in foundation("prod").of("aws:budgets/budget:Budget")}
    assert any(name.endswith("-platform") for name in budgets)


def test_clusters_run_a_version_in_standard_support() -> None:
    for environment in ENVIRONMENTS:
        for made in foundation(environment).of("aws:eks/cluster:Cluster"):
            ends = support_ends(made.inputs["version"])
            assert ends
            assert ends > READ_ON + timedelta(days=90)


def test_endpoints_that_scale_to_zero_are_woken_in_dev_alone() -> None:
    def clocks(environment: str) -> int:
        scaled = serving(environment).of("ScaledObject")
        return sum(any(t["type"] == "cron" for t in m.at("spec.triggers")) for m in scaled)

    assert (clocks("dev"), clocks("prod")) == (4, 0)


def test_the_platforms_alerts_have_somewhere_to_go() -> None:
    teams: set[Any] = {m.at("metadata.labels")[TEAM_LABEL] for m in platform("prod").of("AlertmanagerConfig")}
    assert teams >= {"platform", "support", "search", "developer-tools"}
