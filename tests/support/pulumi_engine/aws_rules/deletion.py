"""What cannot go while something else stands on it, and what goes only in one order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support.pulumi_engine.aws_rules.rule import Asked, Rules

RULES = Rules()
VPC, SUBNET, GROUP = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/securityGroup:SecurityGroup"
GATEWAY, NAT = "aws:ec2/internetGateway:InternetGateway", "aws:ec2/natGateway:NatGateway"
NODES, CLUSTER, ADDON = "aws:eks/nodeGroup:NodeGroup", "aws:eks/cluster:Cluster", "aws:eks/addon:Addon"
ROLE, ATTACHMENT = "aws:iam/role:Role", "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
PROFILE, DATABASE = "aws:iam/instanceProfile:InstanceProfile", "aws:rds/instance:Instance"
SUBNETS, PARAMETERS = "aws:rds/subnetGroup:SubnetGroup", "aws:rds/parameterGroup:ParameterGroup"
IN_NETWORK = (SUBNET, GROUP, GATEWAY, NAT, "aws:ec2/routeTable:RouteTable", "aws:ec2/vpcEndpoint:VpcEndpoint")
IN_SUBNET = (NAT, "aws:ec2/vpcEndpoint:VpcEndpoint", NODES, CLUSTER, "aws:ec2/instance:Instance", SUBNETS)
USES_GROUPS = ("aws:ec2/instance:Instance", "aws:ec2/vpcEndpoint:VpcEndpoint", DATABASE, NODES, GROUP)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def _user(asked: Asked, tokens: tuple[str, ...]) -> str | None:
    """Return the id of a resource of some types that names the one to be deleted."""
    found = (r for token in tokens for r in asked.here(token) if asked.id in set(_texts(r.inputs)))
    return next((r.id for r in found), None)


@RULES(VPC, "EC2 API error codes: DependencyViolation", when="delete")
def network_in_use(asked: Asked) -> str | None:
    """Refuse to delete a network with anything in it."""
    if user := _user(asked, IN_NETWORK):
        return f"DependencyViolation: The vpc '{asked.id}' has dependencies and cannot be deleted ({user})."
    return None


@RULES(SUBNET, "EC2 API error codes: DependencyViolation", when="delete")
def subnet_in_use(asked: Asked) -> str | None:
    """Refuse to delete a subnet with network interfaces in it."""
    if user := _user(asked, IN_SUBNET):
        return f"DependencyViolation: The subnet '{asked.id}' has dependencies and cannot be deleted ({user})."
    return None


@RULES(GROUP, "EC2 API error codes: DependencyViolation", when="delete")
def group_in_use(asked: Asked) -> str | None:
    """Refuse to delete a security group that something has or names."""
    if user := _user(asked, USES_GROUPS):
        return f"DependencyViolation: resource {asked.id} has a dependent object ({user})"
    return None


@RULES(GATEWAY, "EC2 API reference, DetachInternetGateway: mapped public addresses", when="delete")
def gateway_in_use(asked: Asked) -> str | None:
    """Refuse to take a network's way out away while a NAT gateway's address is behind it."""
    subnets = {s.id: s.inputs.get("vpcId") for s in asked.here(SUBNET)}
    vpc = asked.text("vpcId")
    if any(subnets.get(str(nat.inputs.get("subnetId"))) == vpc for nat in asked.here(NAT)):
        return f"DependencyViolation: Network {vpc} has some mapped public address(es)."
    return None


@RULES(CLUSTER, "EKS API reference, DeleteCluster: ResourceInUseException", when="delete")
def cluster_with_nodes(asked: Asked) -> str | None:
    """Refuse to delete a cluster with node groups."""
    if any(group.inputs.get("clusterName") == asked.id for group in asked.here(NODES)):
        return "ResourceInUseException: Cluster has nodegroups attached"
    return None


@RULES(ADDON, "terraform-aws-modules/terraform-aws-eks: interfaces left behind without vpc-cni", when="delete")
def network_of_nodes(asked: Asked) -> str | None:
    """Refuse, sooner than AWS: the network add-on goes after the nodes, or their interfaces stay for good."""
    name, cluster = asked.text("addonName"), asked.text("clusterName")
    if name == "vpc-cni" and any(group.inputs.get("clusterName") == cluster for group in asked.here(NODES)):
        return "nodes would leave network interfaces behind: delete the node groups before vpc-cni"
    return None


@RULES(ATTACHMENT, "pulumi-aws and Terraform docs, eks.NodeGroup: rights are deleted after the group", when="delete")
def rights_of_nodes(asked: Asked) -> str | None:
    """Refuse, sooner than AWS: a group whose role has lost its rights cannot drain and cannot be deleted."""
    role = asked.by_id(ROLE, asked.text("role"))
    arn = role.outputs.get("arn") if role else None
    if arn and any(group.inputs.get("nodeRoleArn") == arn for group in asked.here(NODES)):
        return f"nodes of role {asked.text('role')} would be left without rights: delete the node groups first"
    return None


@RULES(ROLE, "IAM API reference, DeleteRole: DeleteConflict", when="delete")
def role_in_use(asked: Asked) -> str | None:
    """Refuse to delete a role with policies or profiles."""
    if user := _user(asked, (ATTACHMENT, PROFILE)):
        return f"DeleteConflict: Cannot delete entity, must detach all policies first ({user})."
    return None


@RULES(SUBNETS, "Amazon RDS error codes: InvalidDBSubnetGroupStateFault", when="delete")
def database_subnets_in_use(asked: Asked) -> str | None:
    """Refuse to delete the subnet group of a database."""
    if user := _user(asked, (DATABASE,)):
        return f"InvalidDBSubnetGroupStateFault: Cannot delete the subnet group because {user} is still using it."
    return None


@RULES(PARAMETERS, "Amazon RDS error codes: InvalidDBParameterGroupState", when="delete")
def database_parameters_in_use(asked: Asked) -> str | None:
    """Refuse to delete the parameters of a database."""
    if user := _user(asked, (DATABASE,)):
        return f"InvalidDBParameterGroupState: One or more database instances are still members of this group ({user})."
    return None


@RULES(DATABASE, "Amazon RDS error codes: DBSnapshotAlreadyExists", when="delete")
def last_snapshot_taken(asked: Asked) -> str | None:
    """Refuse to delete a database whose last snapshot would have a name that is taken."""
    name = asked.text("finalSnapshotIdentifier")
    if name and asked.cloud.was_used(name):
        return (
            f"DBSnapshotAlreadyExists: Cannot create the snapshot because a snapshot with the identifier {name} exists."
        )
    if name:
        asked.cloud.use(name)
    return None
