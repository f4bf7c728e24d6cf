"""Launch templates of node groups: instance metadata by token, an encrypted disk, tags, and how capacity is bought."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.tags import Owned

# Mounts the instance store as one fast volume for images and pods; nothing happens where there is none.
# Source: nodeadm API, `NodeConfig.spec.instance.localStorage`.
_LOCAL_STORAGE = """\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="//"

--//
Content-Type: application/node.eks.aws

apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  instance:
    localStorage:
      strategy: RAID0
--//--
"""


@dataclass(frozen=True)
class NodeTemplateArgs:
    """A node's disk and key; for reserved capacity the reservation, and network cards of which all but one are EFA."""

    disk_gib: int
    key_arn: pulumi.Input[str]
    owned: Owned
    local_storage: bool = False
    reservation: str | None = None
    is_block: bool = False
    efa_security_groups: Sequence[pulumi.Input[str]] = ()
    placement_group: pulumi.Input[str] | None = None


def node_template(name: str, args: NodeTemplateArgs, opts: pulumi.ResourceOptions) -> aws.ec2.LaunchTemplate:
    """Return a launch template: one hop for metadata, so that a pod cannot borrow its node's role."""
    tags = args.owned.tags(name)
    kinds = ("instance", "volume", "network-interface")
    return aws.ec2.LaunchTemplate(
        name,
        metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
        block_device_mappings=[aws.ec2.LaunchTemplateBlockDeviceMappingArgs(device_name="/dev/xvda", ebs=_disk(args))],
        capacity_reservation_specification=_bought(args.reservation) if args.reservation else None,
        instance_market_options={"market_type": "capacity-block"} if args.is_block else None,
        network_interfaces=_efa(args.efa_security_groups) if args.efa_security_groups else None,
        placement={"group_name": args.placement_group} if args.placement_group is not None else None,
        user_data=base64.b64encode(_LOCAL_STORAGE.encode()).decode() if args.local_storage else None,
        monitoring={"enabled": True},
        tag_specifications=[
            aws.ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=tags) for kind in kinds
        ],
        tags=tags,
        opts=opts,
    )


def launched_from(template: aws.ec2.LaunchTemplate) -> aws.eks.NodeGroupLaunchTemplateArgs:
    """Return the newest version of a template, so that a change of it replaces nodes one by one."""
    return aws.eks.NodeGroupLaunchTemplateArgs(id=template.id, version=template.latest_version.apply(str))


def _disk(args: NodeTemplateArgs) -> aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs:
    return aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
        volume_size=args.disk_gib,
        volume_type="gp3",
        throughput=250,
        encrypted="true",
        kms_key_id=args.key_arn,
        delete_on_termination="true",
    )


def _bought(reservation: str) -> aws.ec2.LaunchTemplateCapacityReservationSpecificationArgs:
    target = aws.ec2.LaunchTemplateCapacityReservationSpecificationCapacityReservationTargetArgs(
        capacity_reservation_id=reservation
    )
    return aws.ec2.LaunchTemplateCapacityReservationSpecificationArgs(capacity_reservation_target=target)


def _efa(groups: Sequence[pulumi.Input[str]]) -> list[aws.ec2.LaunchTemplateNetworkInterfaceArgs]:
    """Return one ordinary card with EFA; a type with more cards gets more by `network_card_index` when it is known."""
    return [
        aws.ec2.LaunchTemplateNetworkInterfaceArgs(
            device_index=0, interface_type="efa", security_groups=list(groups), delete_on_termination="true"
        )
    ]
