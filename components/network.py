"""A region's network: a VPC with private subnets over its zones, a way out, and private ways to AWS services.

Zones are named by their ids: a letter means another zone in each account.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.flow_logs import FlowLogs, FlowLogsArgs
from components.tags import Owned

# What nodes and pods ask all day; with them an outage of NAT stops no pull and no role. Each costs 8 USD a zone.
INTERFACE_ENDPOINTS = ("ec2", "ecr.api", "ecr.dkr", "eks-auth", "logs", "sts")


@dataclass(frozen=True)
class NetworkArgs:
    """Where, how large (`cidr` with a prefix of 16 to 20), and whether an outage of a zone may take the way out."""

    region: str
    cidr: str
    zones: Sequence[str]
    nat_per_zone: bool
    private_endpoints: bool
    account: pulumi.Input[str]
    log_retention_days: int
    deletion_protection: bool
    owned: Owned


@dataclass(frozen=True)
class Subnets:
    """One zone's address ranges; private ones take most of the network."""

    zone: str
    private: str
    public: str


def subnets(cidr: str, zones: Sequence[str]) -> tuple[Subnets, ...]:
    """Return a quarter of `cidr` as each zone's private range and a sixteenth of the last quarter as its public one."""
    quarters = list(ipaddress.IPv4Network(cidr).subnets(prefixlen_diff=2))
    publics = list(quarters[3].subnets(prefixlen_diff=2))
    return tuple(Subnets(zone, str(quarters[i]), str(publics[i])) for i, zone in enumerate(zones))


class Network(pulumi.ComponentResource):
    """A VPC whose machines are all private.

    Costs a NAT gateway (about 35 USD a month and per GB) or one a zone, and with `private_endpoints` 6 interface
    endpoints in each zone. Protects by: no public address on any machine, no rule in the default security group, flow
    logs of all traffic, and AWS calls that never leave AWS's network.
    """

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:network:Network", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        vpc = self._vpc()
        self.vpc_id: pulumi.Output[str] = vpc.id
        ranges = subnets(args.cidr, args.zones)
        public = [self._subnet(vpc, r.zone, r.public, public=True) for r in ranges]
        private = [self._subnet(vpc, r.zone, r.private, public=False) for r in ranges]
        self.public_subnet_ids = pulumi.Output.all(*[s.id for s in public])
        self.private_subnets = {r.zone: s.id for r, s in zip(ranges, private, strict=True)}
        self.private_subnet_ids = pulumi.Output.all(*self.private_subnets.values())
        gateway = self._public_routes(vpc, public)
        self._nat_needs = pulumi.ResourceOptions(parent=self, depends_on=[gateway])
        tables = self._private_routes(vpc, public, private)
        self.private_route_table_ids = [table.id for table in tables]
        self._service_endpoints(vpc, [s.id for s in private], tables)
        FlowLogs(
            name,
            FlowLogsArgs(
                vpc.id, args.region, args.account, args.log_retention_days, args.deletion_protection, args.owned
            ),
            self._own,
        )
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "private_subnet_ids": self.private_subnet_ids,
                "public_subnet_ids": self.public_subnet_ids,
            }
        )

    def _vpc(self) -> aws.ec2.Vpc:
        vpc = aws.ec2.Vpc(
            self._name,
            cidr_block=self._args.cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=self._args.owned.tags(self._name),
            opts=self._own,
        )
        # Taken over without rules, so that nothing works by being in the default group.
        aws.ec2.DefaultSecurityGroup(
            self._name, vpc_id=vpc.id, ingress=[], egress=[], tags=self._args.owned.tags(), opts=self._own
        )
        return vpc

    def _subnet(self, vpc: aws.ec2.Vpc, zone: str, cidr: str, *, public: bool) -> aws.ec2.Subnet:
        kind, role = ("public", "elb") if public else ("private", "internal-elb")
        name = f"{self._name}-{kind}-{zone}"
        return aws.ec2.Subnet(
            name,
            vpc_id=vpc.id,
            cidr_block=cidr,
            availability_zone_id=zone,
            map_public_ip_on_launch=False,
            tags=self._args.owned.tags(name, {f"kubernetes.io/role/{role}": "1"}),
            opts=self._own,
        )

    def _public_routes(self, vpc: aws.ec2.Vpc, public: Sequence[aws.ec2.Subnet]) -> aws.ec2.InternetGateway:
        tags = self._args.owned.tags(f"{self._name}-public")
        gateway = aws.ec2.InternetGateway(self._name, vpc_id=vpc.id, tags=tags, opts=self._own)
        table = aws.ec2.RouteTable(f"{self._name}-public", vpc_id=vpc.id, tags=tags, opts=self._own)
        self._route(f"{self._name}-public", table, gateway_id=gateway.id)
        for subnet, zone in zip(public, self._args.zones, strict=True):
            self._associate(f"{self._name}-public-{zone}", table, subnet)
        return gateway

    def _private_routes(
        self, vpc: aws.ec2.Vpc, public: Sequence[aws.ec2.Subnet], private: Sequence[aws.ec2.Subnet]
    ) -> list[aws.ec2.RouteTable]:
        zones = self._args.zones if self._args.nat_per_zone else self._args.zones[:1]
        gateways = [self._nat(zone, subnet) for zone, subnet in zip(zones, public, strict=False)]
        tables = []
        for i, (zone, subnet) in enumerate(zip(self._args.zones, private, strict=True)):
            name = f"{self._name}-private-{zone}"
            table = aws.ec2.RouteTable(name, vpc_id=vpc.id, tags=self._args.owned.tags(name), opts=self._own)
            self._route(name, table, nat_gateway_id=gateways[i % len(gateways)].id)
            self._associate(name, table, subnet)
            tables.append(table)
        return tables

    def _nat(self, zone: str, subnet: aws.ec2.Subnet) -> aws.ec2.NatGateway:
        name = f"{self._name}-nat-{zone}"
        tags = self._args.owned.tags(name)
        address = aws.ec2.Eip(name, domain="vpc", tags=tags, opts=self._own)
        # A NAT gateway in a network that has no way out yet is refused. Source: terraform-provider-aws, issue 709.
        return aws.ec2.NatGateway(name, subnet_id=subnet.id, allocation_id=address.id, tags=tags, opts=self._nat_needs)

    def _route(
        self,
        name: str,
        table: aws.ec2.RouteTable,
        *,
        gateway_id: pulumi.Input[str] | None = None,
        nat_gateway_id: pulumi.Input[str] | None = None,
    ) -> None:
        aws.ec2.Route(
            name,
            route_table_id=table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway_id,
            nat_gateway_id=nat_gateway_id,
            opts=self._own,
        )

    def _associate(self, name: str, table: aws.ec2.RouteTable, subnet: aws.ec2.Subnet) -> None:
        aws.ec2.RouteTableAssociation(name, route_table_id=table.id, subnet_id=subnet.id, opts=self._own)

    def _service_endpoints(
        self, vpc: aws.ec2.Vpc, subnet_ids: Sequence[pulumi.Input[str]], tables: Sequence[aws.ec2.RouteTable]
    ) -> None:
        group = aws.ec2.SecurityGroup(
            f"{self._name}-endpoints",
            vpc_id=vpc.id,
            description="HTTPS from the network to AWS services",
            ingress=[{"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": [self._args.cidr]}],
            tags=self._args.owned.tags(f"{self._name}-endpoints"),
            opts=self._own,
        )
        aws.ec2.VpcEndpoint(
            f"{self._name}-s3",
            vpc_id=vpc.id,
            service_name=f"com.amazonaws.{self._args.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables],
            tags=self._args.owned.tags(f"{self._name}-s3"),
            opts=self._own,
        )
        for service in INTERFACE_ENDPOINTS if self._args.private_endpoints else ():
            name = f"{self._name}-{service.replace('.', '-')}"
            aws.ec2.VpcEndpoint(
                name,
                vpc_id=vpc.id,
                service_name=f"com.amazonaws.{self._args.region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=subnet_ids,
                security_group_ids=[group.id],
                tags=self._args.owned.tags(name),
                opts=self._own,
            )
