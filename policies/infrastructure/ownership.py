"""Policies over who something belongs to: tags on AWS resources, labels on Kubernetes objects. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from environments.names import ENVIRONMENT_LABEL, TEAM_LABEL
from policies.policy import OnResource, Policy, Resource, StackContext, levels
from policies.values import UNKNOWN, absent
from policies.values import labels as labels_of

TAGS = ("environment", "team", "owner", "cost-center")
LABELS = (ENVIRONMENT_LABEL, TEAM_LABEL, "owner", "cost-center")
# What costs money or holds data, and takes tags.
TAGGED = frozenset(
    {
        "aws:cloudwatch/logGroup:LogGroup",
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        "aws:ebs/volume:Volume",
        "aws:ec2/eip:Eip",
        "aws:ec2/instance:Instance",
        "aws:ec2/launchTemplate:LaunchTemplate",
        "aws:ec2/natGateway:NatGateway",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/subnet:Subnet",
        "aws:ec2/vpc:Vpc",
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        "aws:ecr/repository:Repository",
        "aws:eks/cluster:Cluster",
        "aws:eks/nodeGroup:NodeGroup",
        "aws:iam/role:Role",
        "aws:kms/key:Key",
        "aws:rds/cluster:Cluster",
        "aws:rds/instance:Instance",
        "aws:s3/bucket:Bucket",
        "aws:sagemaker/endpoint:Endpoint",
        "aws:sagemaker/endpointConfiguration:EndpointConfiguration",
        "aws:sagemaker/model:Model",
        "aws:secretsmanager/secret:Secret",
        "aws:sns/topic:Topic",
    }
)
LABELLED = frozenset(
    {
        "kubernetes:apps/v1:DaemonSet",
        "kubernetes:apps/v1:Deployment",
        "kubernetes:apps/v1:StatefulSet",
        "kubernetes:batch/v1:CronJob",
        "kubernetes:batch/v1:Job",
        "kubernetes:core/v1:Namespace",
        "kubernetes:core/v1:Service",
        "kubernetes:core/v1:ServiceAccount",
    }
)


def tags(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find resources whose bill nobody gets, and those that claim another environment."""
    found = resource.props.get("tags")
    yield from _missing(found, TAGS, "tags", "environment", context.spec.environment)


def labels(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find objects that no team answers for, and those that claim another environment."""
    found = labels_of(resource)
    yield from _missing(found, LABELS, "labels", ENVIRONMENT_LABEL, context.spec.environment)


def _missing(found: object, wanted: tuple[str, ...], kind: str, key: str, environment: str) -> Iterator[str]:
    if found is UNKNOWN:
        return
    given = found if isinstance(found, Mapping) else {}
    missing = [name for name in wanted if absent(given.get(name))]
    if missing:
        yield f"{kind} are missing: {', '.join(missing)}"
    if isinstance(given.get(key), str) and given[key] and given[key] != environment:
        yield f"{key} is {given[key]}, and the stack is {environment}"


POLICIES = (
    Policy(
        "TAG-001", "AWS resources say whose they are", "a bill without tags is nobody's bill",
        "tag with environment, team, owner and cost-center", OnResource(TAGGED, tags),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "TAG-002", "Kubernetes objects say whose they are", "whoever is on call looks at labels first",
        "label with environment, team, owner and cost-center", OnResource(LABELLED, labels),
        levels(dev="warn", staging="warn", prod="deny"),
    ),
)  # fmt: skip
