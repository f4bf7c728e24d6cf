"""What the software in a cluster may do in AWS: one policy for each of its ServiceAccounts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.iam import Conditions, Grant, policy

TAGGED_KINDS = ("fleet", "instance", "volume", "network-interface", "launch-template", "spot-instances-request")
SEEN = (
    "CapacityReservations",
    "Images",
    "Instances",
    "InstanceStatus",
    "InstanceTypeOfferings",
    "InstanceTypes",
    "LaunchTemplates",
    "PlacementGroups",
    "SecurityGroups",
    "SpotPriceHistory",
    "Subnets",
)


@dataclass(frozen=True)
class Place:
    """Where a cluster stands: what ARNs are made of."""

    region: str
    account: str
    cluster: str

    def arn(self, service: str, thing: str) -> str:
        """Return the ARN of something in this region and account."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{thing}"


def karpenter_policy(place: Place, *, node_role_arn: str, profile_arn: str, queue_arn: str) -> str:
    """Return Karpenter's policy: it starts and stops machines of this cluster, and no other.

    Instance profiles are made by the stack, so it may not make roles or profiles.
    Source: Karpenter's documentation, "CloudFormation", policy `KarpenterControllerPolicy`, without those.
    """
    return policy(
        *_machines(place),
        Grant([f"ec2:Describe{kind}" for kind in SEEN], ["*"], _equals({"aws:RequestedRegion": place.region})),
        Grant(["ssm:GetParameter"], [f"arn:aws:ssm:{place.region}::parameter/aws/service/*"]),
        Grant(["pricing:GetProducts"], ["*"]),
        Grant(["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"], [queue_arn]),
        Grant(["iam:PassRole"], [node_role_arn], _equals({"iam:PassedToService": "ec2.amazonaws.com"})),
        Grant(["iam:GetInstanceProfile"], [profile_arn]),
        Grant(["iam:ListInstanceProfiles"], ["*"]),
        # The first spot machine of an account makes this role; nothing else may be made with the action.
        Grant(
            ["iam:CreateServiceLinkedRole"],
            [f"arn:aws:iam::{place.account}:role/aws-service-role/spot.amazonaws.com/*"],
            _equals({"iam:AWSServiceName": "spot.amazonaws.com"}),
        ),
        Grant(["eks:DescribeCluster"], [place.arn("eks", f"cluster/{place.cluster}")]),
    )


def _machines(place: Place) -> list[Grant]:
    """Return the grants to start, tag and end machines; tags tell this cluster's from everybody else's."""
    owned = {f"kubernetes.io/cluster/{place.cluster}": "owned"}
    asked = {f"aws:RequestTag/{key}": value for key, value in (owned | {"eks:eks-cluster-name": place.cluster}).items()}
    there = {f"aws:ResourceTag/{key}": value for key, value in owned.items()}
    start, tagged = ["ec2:RunInstances", "ec2:CreateFleet"], [place.arn("ec2", f"{kind}/*") for kind in TAGGED_KINDS]
    given = [f"arn:aws:ec2:{place.region}::{kind}/*" for kind in ("image", "snapshot")]
    kinds = ("security-group", "subnet", "capacity-reservation", "placement-group")
    given += [place.arn("ec2", f"{kind}/*") for kind in kinds]
    makers = ["RunInstances", "CreateFleet", "CreateLaunchTemplate"]
    ours = _equals(there, like={"aws:ResourceTag/karpenter.sh/nodepool": "*"})
    new = _equals(asked, like={"aws:RequestTag/karpenter.sh/nodepool": "*"})
    return [
        Grant(start, given),
        Grant(start, [place.arn("ec2", "launch-template/*")], ours),
        Grant([*start, "ec2:CreateLaunchTemplate"], tagged, new),
        Grant(["ec2:CreateTags"], tagged, {**new, "StringEquals": {**asked, "ec2:CreateAction": makers}}),
        Grant(["ec2:CreateTags"], [place.arn("ec2", "instance/*")], {**ours, "ForAllValues:StringEquals": _LATER}),
        Grant(
            ["ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"],
            [place.arn("ec2", f"{kind}/*") for kind in ("instance", "launch-template")],
            ours,
        ),
    ]


_LATER = {"aws:TagKeys": ["eks:eks-cluster-name", "karpenter.sh/nodeclaim", "Name"]}


def _equals(values: dict[str, str], *, like: dict[str, str] | None = None) -> Conditions:
    return {"StringEquals": dict(values)} | ({"StringLike": like} if like else {})


def certificate_policy(zone: str) -> str:
    """Return cert-manager's policy: it answers challenges in one zone. Source: cert-manager, "Route53"."""
    return policy(
        Grant(["route53:GetChange"], ["arn:aws:route53:::change/*"]),
        Grant(
            ["route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets"],
            [f"arn:aws:route53:::hostedzone/{zone}"],
        ),
    )


def dns_policy(zones: Sequence[str]) -> str:
    """Return ExternalDNS's policy: it keeps records in our zones. Source: ExternalDNS, "AWS", static credentials."""
    return policy(
        Grant(
            ["route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets", "route53:ListTagsForResources"],
            [f"arn:aws:route53:::hostedzone/{zone}" for zone in zones],
        ),
        Grant(["route53:ListHostedZones"], ["*"]),
    )


def alerting_policy(topics: Sequence[str], key_arn: str) -> str:
    """Return Alertmanager's policy: it publishes, and encrypts what it publishes; without the key nothing arrives.

    Source: Amazon SNS, "Key management": a publisher to an encrypted topic needs GenerateDataKey and Decrypt.
    """
    return policy(Grant(["sns:Publish"], topics), Grant(["kms:GenerateDataKey", "kms:Decrypt"], [key_arn]))


def secrets_policy(place: Place, prefix: str, key_arns: Sequence[str]) -> str:
    """Return External Secrets' policy: it reads secrets whose names begin with this environment's prefix."""
    read = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
    through = _equals({"kms:ViaService": f"secretsmanager.{place.region}.amazonaws.com"})
    keys = [Grant(["kms:Decrypt"], key_arns, through)] if key_arns else []
    return policy(Grant(read, [place.arn("secretsmanager", f"secret:{prefix}/*")]), *keys)


def log_groups(cluster: str) -> tuple[str, ...]:
    """Return the groups that the log shipper of a cluster writes. Source: Container Insights."""
    return tuple(f"/aws/containerinsights/{cluster}/{kind}" for kind in ("application", "dataplane", "host"))


def logs_policy(place: Place) -> str:
    """Return the log shipper's policy: it writes streams of this cluster's groups, which are made before it."""
    groups = [place.arn("logs", f"log-group:{group}:*") for group in log_groups(place.cluster)]
    write = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents", "logs:PutRetentionPolicy"]
    return policy(Grant(write, groups), Grant(["logs:DescribeLogGroups"], ["*"]))


def artifacts_policy(bucket_arn: str, key_arn: str) -> str:
    """Return MLflow's policy: it reads and writes below one prefix of one bucket."""
    parts = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    objects = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject", *parts]
    return policy(
        Grant(["s3:ListBucket", "s3:GetBucketLocation"], [bucket_arn]),
        Grant(objects, [f"{bucket_arn}/mlflow/*"]),
        Grant(["kms:Decrypt", "kms:GenerateDataKey"], [key_arn]),
    )


def read_models(bucket_arns: Sequence[str], key_arns: Sequence[str]) -> str:
    """Return a policy that reads models, the region's copies and the home region's own, and writes nowhere."""
    return policy(
        Grant(["s3:ListBucket", "s3:GetBucketLocation"], sorted(set(bucket_arns))),
        Grant(["s3:GetObject", "s3:GetObjectVersion"], [f"{arn}/*" for arn in sorted(set(bucket_arns))]),
        Grant(["kms:Decrypt"], sorted(set(key_arns))),
    )


def cache_policy(place: Place, prefixes: Sequence[str]) -> str:
    """Return what a node needs to be the first that pulls an image through ECR: to have it copied, and its place made.

    Source: Amazon ECR user guide, "IAM permissions required to sync an upstream registry"; tags are needed because the
    template of the repositories has some. The managed policy of all nodes, AmazonEC2ContainerRegistryPullOnly, has the
    first of these for every repository, which does nothing where no rule is, and not the others.
    """
    return policy(
        Grant(["ecr:BatchImportUpstreamImage", "ecr:CreateRepository", "ecr:TagResource"], _below(place, prefixes))
    )


def cache_maker_policy(place: Place, prefixes: Sequence[str]) -> str:
    """Return what ECR needs to make places for copies. Source: its user guide, "Repository creation templates"."""
    through = _equals({"kms:ViaService": f"ecr.{place.region}.amazonaws.com"})
    return policy(
        Grant(["ecr:CreateRepository", "ecr:TagResource"], _below(place, prefixes)),
        Grant(["kms:CreateGrant", "kms:RetireGrant", "kms:DescribeKey"], [place.arn("kms", "key/*")], through),
    )


def _below(place: Place, prefixes: Sequence[str]) -> list[str]:
    return [place.arn("ecr", f"repository/{prefix}/*") for prefix in prefixes]
