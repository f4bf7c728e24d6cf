"""A small machine in the home network from which people reach API servers that have no public address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.iam import assumed_by
from components.tags import Owned

INSTANCE = "t4g.small"
IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
# Everything that the commands of docs/adopt.md need; the repository and credentials come with the person.
_USER_DATA = "#!/bin/bash\ndnf install -y git python3.11 python3.11-pip\n"


@dataclass(frozen=True)
class RunnerArgs:
    """Where it stands, and the group of the cluster that it is let in to."""

    vpc_id: pulumi.Input[str]
    subnet_ids: pulumi.Output[Sequence[str]]
    cluster_security_group_id: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    owned: Owned


class Runner(pulumi.ComponentResource):
    """A door for `pulumi` and `kubectl`: `aws ssm start-session --target INSTANCE`.

    Costs 12 USD a month. Protects by: no open port, no key pair, no rights in AWS but to be reached by Session
    Manager: people bring credentials of their own, and every session is in CloudTrail.
    """

    def __init__(self, name: str, args: RunnerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:network:Runner", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(
            name,
            vpc_id=args.vpc_id,
            description="Runner: out alone",
            egress=[{"protocol": "-1", "from_port": 0, "to_port": 0, "cidr_blocks": ["0.0.0.0/0"]}],
            tags=args.owned.tags(name),
            opts=self._own,
        )
        aws.vpc.SecurityGroupIngressRule(
            name,
            security_group_id=args.cluster_security_group_id,
            description="The runner reaches the API server",
            referenced_security_group_id=group.id,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            tags=args.owned.tags(),
            opts=self._own,
        )
        self.instance_id: pulumi.Output[str] = self._machine(group).id
        self.register_outputs({"instance_id": self.instance_id})

    def _machine(self, group: aws.ec2.SecurityGroup) -> aws.ec2.Instance:
        args, tags = self._args, self._args.owned.tags(self._name)
        role = aws.iam.Role(self._name, assume_role_policy=assumed_by("ec2.amazonaws.com"), tags=tags, opts=self._own)
        rights = aws.iam.RolePolicyAttachment(
            self._name,
            role=role.name,
            policy_arn="arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",
            opts=self._own,
        )
        profile = aws.iam.InstanceProfile(self._name, role=role.name, tags=tags, opts=self._own)
        image = aws.ssm.get_parameter_output(name=IMAGE, opts=pulumi.InvokeOptions(parent=self))
        return aws.ec2.Instance(
            self._name,
            ami=image.value,
            instance_type=INSTANCE,
            subnet_id=args.subnet_ids.apply(lambda ids: ids[0]),
            vpc_security_group_ids=[group.id],
            iam_instance_profile=profile.name,
            metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
            root_block_device={"volume_size": 30, "volume_type": "gp3", "encrypted": True, "kms_key_id": args.key_arn},
            user_data=_USER_DATA,
            tags=tags,
            # A newer image does not replace a machine that somebody works on; `pulumi up --replace` does.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights], ignore_changes=["ami"]),
        )
