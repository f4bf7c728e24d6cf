"""Where the proxies of a cluster count together, so that a team's limit holds however many proxies run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.tags import Owned

PORT = 6379
NODE = "cache.t4g.micro"


@dataclass(frozen=True)
class RateStoreArgs:
    """Where it stands, who may reach it, and whether a second copy stands by."""

    vpc_id: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[str]]
    client_group_id: pulumi.Input[str]
    has_standby: bool
    owned: Owned


class RateStore(pulumi.ComponentResource):
    """A Valkey server in ElastiCache. `address` is host and port.

    Costs 12 USD a month for each copy. Protects by: TLS, one group of clients, and nothing in it but counters: when it
    is away, proxies let requests through.
    """

    def __init__(self, name: str, args: RateStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:serving:RateStore", name, None, opts)
        own, tags = pulumi.ResourceOptions(parent=self), args.owned.tags(name)
        group = aws.ec2.SecurityGroup(
            name,
            vpc_id=args.vpc_id,
            description="Proxies that count together",
            ingress=[
                {"protocol": "tcp", "from_port": PORT, "to_port": PORT, "security_groups": [args.client_group_id]}
            ],
            tags=tags,
            opts=own,
        )
        subnets = aws.elasticache.SubnetGroup(name, subnet_ids=args.subnet_ids, tags=tags, opts=own)
        copies = 2 if args.has_standby else 1
        store = aws.elasticache.ReplicationGroup(
            name,
            replication_group_id=name[:40],
            description="Counters of rate limits",
            engine="valkey",
            engine_version="8.0",
            node_type=NODE,
            port=PORT,
            num_cache_clusters=copies,
            automatic_failover_enabled=copies > 1,
            multi_az_enabled=copies > 1,
            at_rest_encryption_enabled=True,
            transit_encryption_enabled=True,
            subnet_group_name=subnets.name,
            security_group_ids=[group.id],
            apply_immediately=True,
            tags=tags,
            opts=own,
        )
        self.address: pulumi.Output[str] = pulumi.Output.concat(store.primary_endpoint_address, f":{PORT}")
        self.register_outputs({"address": self.address})
