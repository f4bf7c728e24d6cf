"""Clusters: versions, zones, who is let in, and machines that can start."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta

from environments.aws_facts import NO_CLUSTERS, READ_ON, offered_zones, support_ends
from tests.support import iam_rules
from tests.support.pulumi_engine.aws_cloud import Resource
from tests.support.pulumi_engine.aws_facts import ACCOUNT, CALLER
from tests.support.pulumi_engine.aws_rules.rule import Asked, Rules

RULES = Rules()
CLUSTER, GROUP, ADDON = "aws:eks/cluster:Cluster", "aws:eks/nodeGroup:NodeGroup", "aws:eks/addon:Addon"
ENTRY = "aws:eks/accessEntry:AccessEntry"
ASSOCIATION = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
POD_IDENTITY = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
TEMPLATE, SUBNET, KEY = "aws:ec2/launchTemplate:LaunchTemplate", "aws:ec2/subnet:Subnet", "aws:kms/key:Key"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
NEED_NODES = ("coredns", "metrics-server", "aws-ebs-csi-driver", "amazon-cloudwatch-observability")
NODE_RIGHTS = ("AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy")
AUTO_SCALING = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
# What a new account has, and the vCPUs of a size. Source: Service Quotas; Amazon EC2 instance types, accelerated.
GPU_VCPUS = 0
VCPUS = {"xlarge": 4, **{f"{n}xlarge": 4 * n for n in (2, 4, 8, 12, 16, 24, 48)}}
EXTENDED = timedelta(days=365)
PRIVATE = [ipaddress.IPv4Network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]


def zone_of(subnet: Resource) -> str:
    """Return a subnet's zone, by id or by letter."""
    return str(subnet.inputs.get("availabilityZoneId") or subnet.inputs.get("availabilityZone") or "")


def subnets_of(asked: Asked, path: str) -> list[Resource]:
    """Return the subnets that a request names and that are there."""
    return [found for identity in asked.texts(path) if (found := asked.by_id(SUBNET, identity))]


@RULES(CLUSTER, "Amazon EKS user guide, Kubernetes version lifecycle")
def version_unsupported(asked: Asked) -> str | None:
    """Refuse a version that EKS does not offer on the day of the tables."""
    version = asked.text("version")
    ends = support_ends(version)
    if version and (ends is None or ends + EXTENDED < READ_ON):
        return f"InvalidParameterException: unsupported Kubernetes version {version}"
    return None


@RULES(CLUSTER, "Amazon EKS user guide, disable extended support: a cluster cannot be created out of standard support")
def version_past_standard(asked: Asked) -> str | None:
    """Refuse a version past its standard support where the cluster declines the extended one."""
    ends = support_ends(asked.text("version"))
    if asked.text("upgradePolicy.supportType") == "STANDARD" and ends and ends < READ_ON:
        return f"InvalidParameterException: version {asked.text('version')} is not in standard support"
    return None


@RULES(CLUSTER, "Amazon EKS user guide, subnet requirements: at least two Availability Zones")
def one_zone(asked: Asked) -> str | None:
    """Refuse a control plane in a single zone."""
    found = subnets_of(asked, "vpcConfig.subnetIds")
    if found and len({zone_of(subnet) for subnet in found}) < 2:
        return "InvalidParameterException: Subnets specified must be in at least two different AZs"
    return None


@RULES(CLUSTER, "Amazon EKS user guide, subnet requirements: zones without control planes")
def zone_without_control_planes(asked: Asked) -> str | None:
    """Refuse zones in which EKS places no control plane."""
    wrong = sorted({zone_of(s) for s in subnets_of(asked, "vpcConfig.subnetIds")} & NO_CLUSTERS)
    if wrong:
        return (
            f"UnsupportedAvailabilityZoneException: EKS does not support creating control plane instances in {wrong[0]}"
        )
    return None


@RULES(CLUSTER, "EKS API reference, VpcConfigRequest: one endpoint must be on")
def unreachable_endpoint(asked: Asked) -> str | None:
    """Refuse an API server without any address."""
    config = asked.inputs.get("vpcConfig") or {}
    if config.get("endpointPublicAccess") is False and config.get("endpointPrivateAccess") is not True:
        return "InvalidParameterException: Private and public endpoint access cannot both be disabled"
    return None


@RULES(CLUSTER, "Amazon EKS user guide, cluster endpoint: publicAccessCidrs takes no reserved addresses")
def private_public_ranges(asked: Asked) -> str | None:
    """Refuse private ranges as those of a public endpoint."""
    for text in asked.texts("vpcConfig.publicAccessCidrs"):
        network = ipaddress.IPv4Network(text)
        if any(network.subnet_of(private) for private in PRIVATE):
            return f"InvalidParameterException: The following CIDRs are not allowed in publicAccessCidrs: [{text}]"
    return None


@RULES(ENTRY, "terraform-aws-modules/terraform-aws-eks issue 3293: the creator has an entry already")
def entry_of_creator(asked: Asked) -> str | None:
    """Refuse an entry for whoever made the cluster, where EKS made one by itself."""
    cluster = asked.by_id(CLUSTER, asked.text("clusterName"))
    access = (cluster.inputs.get("accessConfig") or {}) if cluster else {}
    is_creator = asked.text("principalArn").rpartition("/")[2] == CALLER.split("/")[1]
    if cluster and is_creator and access.get("bootstrapClusterCreatorAdminPermissions") is not False:
        return "ResourceInUseException: The specified access entry resource is already in use on this cluster."
    return None


@RULES(ENTRY, "Amazon EKS user guide, access entries: node groups make their role's entry")
def entry_of_nodes(asked: Asked) -> str | None:
    """Refuse an entry for a role whose machines a node group has let in already."""
    for group in asked.here(GROUP):
        same = group.inputs.get("clusterName") == asked.text("clusterName")
        if same and group.inputs.get("nodeRoleArn") == asked.text("principalArn"):
            return "ResourceInUseException: The specified access entry resource is already in use on this cluster."
    return None


@RULES(ASSOCIATION, "EKS API reference, AssociateAccessPolicy: ResourceNotFoundException")
def association_without_entry(asked: Asked) -> str | None:
    """Refuse rights for somebody who has no entry."""
    for entry in asked.here(ENTRY):
        if all(entry.inputs.get(key) == asked.text(key) for key in ("clusterName", "principalArn")):
            return None
    return "ResourceNotFoundException: The specified principalArn could not be found."


@RULES(POD_IDENTITY, "Amazon EKS user guide, pod identity: one association a service account")
def identity_twice(asked: Asked) -> str | None:
    """Refuse a second role for one service account."""
    keys = ("clusterName", "namespace", "serviceAccount")
    if any(all(o.inputs.get(key) == asked.text(key) for key in keys) for o in asked.here(POD_IDENTITY)):
        return "ResourceInUseException: Association already exists"
    return None


@RULES(POD_IDENTITY, "Amazon EKS user guide, pod identity role: trust policy for pods.eks.amazonaws.com")
def identity_without_trust(asked: Asked) -> str | None:
    """Refuse a role that pods cannot take."""
    role = asked.by_arn("aws:iam/role:Role", asked.text("roleArn"))
    trust = str(role.inputs.get("assumeRolePolicy")) if role else ""
    if role and not all(text in trust for text in ("pods.eks.amazonaws.com", "sts:AssumeRole", "sts:TagSession")):
        return "InvalidParameterException: Trust policy of the role is not valid for EKS Pod Identity"
    return None


@RULES(GROUP, "Amazon EKS user guide, managed node groups: instances fail to join the cluster without their rights")
def nodes_without_rights(asked: Asked) -> str | None:
    """Fail machines whose role lacks what joining a cluster takes."""
    role = asked.by_arn("aws:iam/role:Role", asked.text("nodeRoleArn"))
    attached = [str(a.inputs.get("policyArn")) for a in asked.here(ATTACHMENT) if role and a.inputs["role"] == role.id]
    missing = [right for right in NODE_RIGHTS if not any(arn.endswith(right) for arn in attached)]
    if role and missing and _desired(asked):
        return f"NodeCreationFailure: Instances failed to join the kubernetes cluster (no {missing[0]})"
    return None


@RULES(GROUP, "Amazon EKS user guide, bootstrapSelfManagedAddons: nodes are not ready without a network add-on")
def nodes_without_network(asked: Asked) -> str | None:
    """Fail machines in a cluster without its network add-on."""
    installed = _installed(asked)
    if _desired(asked) and "vpc-cni" not in installed:
        return "NodeCreationFailure: Unhealthy nodes in the kubernetes cluster (container runtime network not ready)"
    return None


@RULES(GROUP, "Amazon EC2 Auto Scaling user guide, required KMS key policy for encrypted volumes")
def key_out_of_reach(asked: Asked) -> str | None:
    """Fail machines whose disks are encrypted with a key that Auto Scaling may not use."""
    template = asked.by_id(TEMPLATE, asked.text("launchTemplate.id"))
    mappings = (template.inputs.get("blockDeviceMappings") or []) if template else []
    for arn in (m.get("ebs", {}).get("kmsKeyId") for m in mappings):
        key = asked.by_arn(KEY, arn) if arn else None
        if key and not _usable(str(key.inputs.get("policy") or ""), asked.region):
            return "AsgInstanceLaunchFailures: Client.InvalidKMSKey.InvalidState: the key is in an incorrect state"
    return None


def _usable(policy: str, region: str) -> bool:
    through = {"kms:ViaService": f"ec2.{region}.amazonaws.com", "kms:CallerAccount": ACCOUNT}
    needed = ("kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom")
    calls = [iam_rules.Call(AUTO_SCALING, action, "*", through) for action in needed]
    return bool(policy) and all(iam_rules.allows(policy, call) for call in calls)


@RULES(GROUP, "eksctl-io/eksctl issue 6461: a node group with a zone that lacks the type")
def type_not_offered(asked: Asked) -> str | None:
    """Refuse a group over a zone that does not have one of its types."""
    for instance in asked.texts("instanceTypes"):
        offered = offered_zones(instance, asked.region)
        for zone in (zone_of(subnet) for subnet in subnets_of(asked, "subnetIds")):
            if offered is not None and zone not in offered:
                return f"Your requested instance type ({instance}) is not supported in the Availability Zone ({zone})"
    return None


@RULES(GROUP, "Amazon EC2 service quotas, L-DB2E81BA: running On-Demand G and VT instances, in vCPUs")
def too_many_gpus(asked: Asked) -> str | None:
    """Fail machines with GPUs beyond the account's quota; spot and Capacity Blocks are counted elsewhere."""
    if asked.text("capacityType") in ("SPOT", "CAPACITY_BLOCK"):
        return None
    wanted = [name for name in asked.texts("instanceTypes") if re.match(r"(g\d|vt\d)", name)]
    if wanted and _desired(asked) and min(VCPUS[name.partition(".")[2]] for name in wanted) > GPU_VCPUS:
        return (
            "AsgInstanceLaunchFailures: VcpuLimitExceeded - You have requested more vCPU capacity than your current "
            f"vCPU limit of {GPU_VCPUS} allows for the instance bucket"
        )
    return None


@RULES(GROUP, "EKS API reference, NodegroupScalingConfig")
def sizes_apart(asked: Asked) -> str | None:
    """Refuse sizes that contradict each other."""
    sizes = asked.inputs.get("scalingConfig") or {}
    low, now, high = (int(sizes.get(key, 0)) for key in ("minSize", "desiredSize", "maxSize"))
    if not (0 <= low <= now <= high and high >= 1):
        return f"InvalidParameterException: desired capacity {now} must be between {low} and {high}"
    return None


@RULES(GROUP, "EKS API reference, CreateNodegroup: settings that a launch template takes over")
def template_and_disk(asked: Asked) -> str | None:
    """Refuse a disk size beside a launch template."""
    if asked.inputs.get("launchTemplate") and asked.inputs.get("diskSize"):
        return "InvalidParameterException: Disk size cannot be specified with launch template"
    return None


@RULES(GROUP, "Amazon EKS user guide, capacity blocks: a launch template with the block's reservation")
def block_without_market(asked: Asked) -> str | None:
    """Refuse a group of Capacity Block machines whose template does not buy them so."""
    template = asked.by_id(TEMPLATE, asked.text("launchTemplate.id"))
    market = ((template.inputs.get("instanceMarketOptions") or {}) if template else {}).get("marketType")
    if asked.text("capacityType") == "CAPACITY_BLOCK" and market != "capacity-block":
        return "InvalidParameterException: launch template must specify capacity-block as market type"
    return None


@RULES(ADDON, "Amazon EKS user guide, add-ons: pods that find no node leave the add-on degraded")
def addon_without_nodes(asked: Asked) -> str | None:
    """Time out on an add-on whose pods have no machine to run on."""
    name, cluster = asked.text("addonName"), asked.text("clusterName")
    running = [g for g in asked.here(GROUP) if g.inputs["clusterName"] == cluster and _size(g.inputs)]
    if name in NEED_NODES and not running:
        return f"waiting for EKS Add-On ({cluster}:{name}): unexpected state 'DEGRADED', InsufficientNumberOfReplicas"
    return None


@RULES(ADDON, "Amazon EKS user guide, pod identity add-on: associations need the agent")
def addon_without_agent(asked: Asked) -> str | None:
    """Refuse roles for an add-on's pods where no agent hands them out."""
    installed = _installed(asked)
    if asked.inputs.get("podIdentityAssociations") and "eks-pod-identity-agent" not in installed:
        return "InvalidParameterException: the add-on eks-pod-identity-agent is not installed on this cluster"
    return None


def _desired(asked: Asked) -> bool:
    return bool(_size(asked.inputs))


def _size(inputs: dict[str, object]) -> int:
    sizes = inputs.get("scalingConfig")
    return int(sizes.get("desiredSize", 0)) if isinstance(sizes, dict) else 0


def _installed(asked: Asked) -> set[object]:
    """Return the add-ons of the cluster that a request is about."""
    cluster = asked.text("clusterName")
    return {addon.inputs["addonName"] for addon in asked.here(ADDON) if addon.inputs["clusterName"] == cluster}
