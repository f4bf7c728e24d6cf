"""What Karpenter needs in AWS: a profile for its machines, a queue of interruptions, and its rights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.children import children_of
from components.iam import document
from components.pod_role import PodRole, PodRoleArgs
from components.rights import Place, karpenter_policy
from components.tags import Owned

NAMESPACE = SERVICE_ACCOUNT = "karpenter"
# What AWS says before it takes a machine away. Source: Karpenter's documentation, "CloudFormation", interruption rules.
EVENTS: Mapping[str, Mapping[str, list[str]]] = {
    "health": {"source": ["aws.health"], "detail-type": ["AWS Health Event"]},
    "spot": {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]},
    "rebalance": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance Rebalance Recommendation"]},
    "state": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"]},
    "reserved": {"source": ["aws.ec2"], "detail-type": ["EC2 Capacity Reservation Instance Interruption Warning"]},
}


@dataclass(frozen=True)
class KarpenterArgs:
    """The cluster, and the role that its machines have."""

    region: str
    account: pulumi.Input[str]
    cluster_name: str
    eks_name: pulumi.Input[str]
    node_role: aws.iam.Role
    owned: Owned


class Karpenter(pulumi.ComponentResource):
    """Karpenter's side in AWS. `queue_name` and `profile_name` are what its chart and node classes name.

    Costs cents for the queue. Protects by: machines that are warned two minutes before a spot reclaim, rights on
    machines that carry this cluster's tag alone, and no right to make roles or profiles.
    """

    def __init__(self, name: str, args: KarpenterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:Karpenter", name, None, opts)
        self._name, self._args = name, args
        self._own = children_of(self, opts)
        tags = args.owned.tags(name)
        profile = aws.iam.InstanceProfile(name, role=args.node_role.name, tags=tags, opts=self._own)
        # Its machines have the system nodes' role, which EKS let in with their node group: a second entry is refused.
        queue = self._queue(tags)
        self._role(profile, queue)
        self.queue_name: pulumi.Output[str] = queue.name
        self.profile_name: pulumi.Output[str] = profile.name
        self.register_outputs({"queue": self.queue_name, "profile": self.profile_name})

    def _queue(self, tags: Mapping[str, str]) -> aws.sqs.Queue:
        queue = aws.sqs.Queue(
            self._name,
            name=self._args.cluster_name,
            message_retention_seconds=300,
            sqs_managed_sse_enabled=True,
            tags=tags,
            opts=self._own,
        )
        aws.sqs.QueuePolicy(self._name, queue_url=queue.url, policy=queue.arn.apply(queue_policy), opts=self._own)
        for event, pattern in EVENTS.items():
            name = f"{self._name}-{event}"
            rule = aws.cloudwatch.EventRule(name, event_pattern=json.dumps(pattern), tags=tags, opts=self._own)
            aws.cloudwatch.EventTarget(name, rule=rule.name, arn=queue.arn, opts=self._own)
        return queue

    def _role(self, profile: aws.iam.InstanceProfile, queue: aws.sqs.Queue) -> None:
        args = self._args
        found = pulumi.Output.all(args.account, args.node_role.arn, profile.arn, queue.arn)
        rights = found.apply(
            lambda f: karpenter_policy(
                Place(args.region, f[0], args.cluster_name), node_role_arn=f[1], profile_arn=f[2], queue_arn=f[3]
            )
        )
        PodRole(self._name, PodRoleArgs(args.eks_name, NAMESPACE, SERVICE_ACCOUNT, rights, args.owned), self._own)


def queue_policy(arn: str) -> str:
    """Return the queue's policy: AWS's events may write, and nobody without TLS."""
    services = {"Service": ["events.amazonaws.com", "sqs.amazonaws.com"]}
    write = {"Effect": "Allow", "Principal": services, "Action": "sqs:SendMessage", "Resource": arn}
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    refuse = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": arn, "Condition": plain}
    return document([write, refuse])
