"""Names inside the networks: a private zone that every region's network asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.tags import Owned
from environments.names import private_domain


@dataclass(frozen=True)
class PrivateZoneArgs:
    """The networks that ask it, by region."""

    vpc_ids: Mapping[str, pulumi.Input[str]]
    owned: Owned


class PrivateZone(pulumi.ComponentResource):
    """A Route 53 zone such as `prod.sluice.internal`; ExternalDNS writes the records.

    Costs 0.50 USD a month. Protects by: names that nobody outside the networks can ask for, so that controllers in the
    home region reach the other regions' Prometheus by name and never by an address that moves.
    """

    def __init__(self, name: str, args: PrivateZoneArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:network:PrivateZone", name, None, opts)
        zone = aws.route53.Zone(
            name,
            name=private_domain(args.owned.environment),
            vpcs=[{"vpc_id": vpc, "vpc_region": region} for region, vpc in args.vpc_ids.items()],
            force_destroy=True,
            tags=args.owned.tags(name),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.zone_id: pulumi.Output[str] = zone.zone_id
        self.register_outputs({"zone_id": self.zone_id})
