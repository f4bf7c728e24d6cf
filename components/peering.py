"""A private way from the home region to another one, so that the controllers reach every cluster's endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.tags import Owned


@dataclass(frozen=True)
class Side:
    """One end: its network, its private route tables and the security group of its cluster, if it has one."""

    region: str
    vpc_id: pulumi.Input[str]
    cidr: str
    route_table_ids: Sequence[pulumi.Input[str]]
    cluster_security_group_id: pulumi.Input[str] | None = None


@dataclass(frozen=True)
class PeeringArgs:
    """Home, the other end, and the other region's provider; home's comes with the options."""

    home: Side
    other: Side
    other_provider: aws.Provider
    owned: Owned


class Peering(pulumi.ComponentResource):
    """A VPC peering between two regions.

    Costs traffic between regions only (about 0.02 USD a GB). Protects by: cluster endpoints that stay private, and
    one port (443) from the home network to the other cluster, none back.
    """

    def __init__(self, name: str, args: PeeringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:network:Peering", name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        there = pulumi.ResourceOptions(parent=self, provider=args.other_provider)
        connection = aws.ec2.VpcPeeringConnection(
            name,
            vpc_id=args.home.vpc_id,
            peer_vpc_id=args.other.vpc_id,
            peer_region=args.other.region,
            auto_accept=False,
            tags=args.owned.tags(name),
            opts=here,
        )
        accepted = aws.ec2.VpcPeeringConnectionAccepter(
            name,
            vpc_peering_connection_id=connection.id,
            auto_accept=True,
            tags=args.owned.tags(name),
            opts=there,
        )
        self.connection_id: pulumi.Output[str] = accepted.id
        self._dns(name, here, there)
        self._routes(f"{name}-out", args.home.route_table_ids, args.other.cidr, here)
        self._routes(f"{name}-back", args.other.route_table_ids, args.home.cidr, there)
        if args.other.cluster_security_group_id is not None:
            aws.vpc.SecurityGroupIngressRule(
                name,
                security_group_id=args.other.cluster_security_group_id,
                description="Controllers of the home region",
                cidr_ipv4=args.home.cidr,
                ip_protocol="tcp",
                from_port=443,
                to_port=443,
                tags=args.owned.tags(name),
                opts=there,
            )
        self.register_outputs({"connection_id": self.connection_id})

    def _dns(self, name: str, here: pulumi.ResourceOptions, there: pulumi.ResourceOptions) -> None:
        """Let each side resolve the other's private names, such as a cluster's endpoint."""
        aws.ec2.PeeringConnectionOptions(
            f"{name}-home",
            vpc_peering_connection_id=self.connection_id,
            requester={"allow_remote_vpc_dns_resolution": True},
            opts=here,
        )
        aws.ec2.PeeringConnectionOptions(
            f"{name}-other",
            vpc_peering_connection_id=self.connection_id,
            accepter={"allow_remote_vpc_dns_resolution": True},
            opts=there,
        )

    def _routes(self, name: str, tables: Sequence[pulumi.Input[str]], cidr: str, opts: pulumi.ResourceOptions) -> None:
        for i, table in enumerate(tables):
            aws.ec2.Route(
                f"{name}-{i}",
                route_table_id=table,
                destination_cidr_block=cidr,
                vpc_peering_connection_id=self.connection_id,
                opts=opts,
            )
