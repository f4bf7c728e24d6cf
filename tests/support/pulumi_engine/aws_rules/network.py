"""Networks: ranges, zones, ways out, endpoints and peerings."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter

from environments.aws_facts import ZONES
from tests.support.pulumi_engine.aws_rules.rule import Asked, Rules

RULES = Rules()
VPC, SUBNET, ROUTE = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/route:Route"
GATEWAY, NAT, EIP = "aws:ec2/internetGateway:InternetGateway", "aws:ec2/natGateway:NatGateway", "aws:ec2/eip:Eip"
ENDPOINT, GROUP = "aws:ec2/vpcEndpoint:VpcEndpoint", "aws:ec2/securityGroup:SecurityGroup"
PEERING, FLOW_LOG = "aws:ec2/vpcPeeringConnection:VpcPeeringConnection", "aws:ec2/flowLog:FlowLog"
QUOTA_VPCS, QUOTA_ADDRESSES = 5, 5
_DESCRIPTION = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}")


def _range(text: str) -> ipaddress.IPv4Network | None:
    return ipaddress.IPv4Network(text) if text else None


@RULES(VPC, "Amazon VPC quotas: VPCs per Region, 5")
def too_many_networks(asked: Asked) -> str | None:
    """Refuse a network beyond the quota that an account begins with."""
    if len(asked.here(VPC)) >= QUOTA_VPCS:
        return "VpcLimitExceeded: The maximum number of VPCs has been reached."
    return None


@RULES(VPC, "Amazon VPC user guide, VPC CIDR blocks: between /28 and /16")
def network_size(asked: Asked) -> str | None:
    """Refuse a network that is larger or smaller than AWS makes them."""
    found = _range(asked.text("cidrBlock"))
    if found and not 16 <= found.prefixlen <= 28:
        return f"InvalidVpc.Range: The CIDR '{found}' is invalid."
    return None


@RULES(SUBNET, "Amazon VPC user guide, subnet CIDR blocks: a subset of the VPC's")
def subnet_outside(asked: Asked) -> str | None:
    """Refuse a subnet that does not lie in its network."""
    vpc, inner = asked.by_id(VPC, asked.text("vpcId")), _range(asked.text("cidrBlock"))
    outer = _range(str(vpc.inputs.get("cidrBlock", ""))) if vpc else None
    if inner and outer and not inner.subnet_of(outer):
        return f"InvalidSubnet.Range: The CIDR '{inner}' is invalid."
    return None


@RULES(SUBNET, "EC2 API error codes: InvalidSubnet.Conflict")
def subnet_overlap(asked: Asked) -> str | None:
    """Refuse a subnet that overlaps another one of its network."""
    mine = _range(asked.text("cidrBlock"))
    for other in asked.here(SUBNET):
        theirs = _range(str(other.inputs.get("cidrBlock", "")))
        if mine and theirs and other.inputs.get("vpcId") == asked.text("vpcId") and mine.overlaps(theirs):
            return f"InvalidSubnet.Conflict: The CIDR '{mine}' conflicts with another subnet"
    return None


@RULES(SUBNET, "EC2 API reference, CreateSubnet: AvailabilityZone and AvailabilityZoneId")
def zone_unknown(asked: Asked) -> str | None:
    """Refuse a zone that the region does not have, by id or by letter."""
    zone, letter = asked.text("availabilityZoneId"), asked.text("availabilityZone")
    known = ZONES.get(asked.region)
    if zone and known is not None and zone not in known:
        return f"InvalidParameterValue: Value ({zone}) for parameter availabilityZoneId is invalid."
    if letter and letter[:-1] != asked.region:
        return f"InvalidParameterValue: Value ({letter}) for parameter availabilityZone is invalid."
    return None


@RULES(NAT, "hashicorp/terraform-provider-aws issue 709: Gateway.NotAttached")
def nat_without_gateway(asked: Asked) -> str | None:
    """Refuse a NAT gateway in a network that has no way out yet."""
    subnet = asked.by_id(SUBNET, asked.text("subnetId"))
    vpc = subnet.inputs.get("vpcId") if subnet else None
    if vpc and not any(g.inputs.get("vpcId") == vpc for g in asked.here(GATEWAY)):
        return f"Gateway.NotAttached: Network {vpc} has no Internet gateway attached"
    return None


@RULES(EIP, "Amazon EC2 quotas: Elastic IP addresses per Region, 5")
def too_many_addresses(asked: Asked) -> str | None:
    """Refuse an address beyond the quota that an account begins with."""
    if len(asked.here(EIP)) >= QUOTA_ADDRESSES:
        return "AddressLimitExceeded: The maximum number of addresses has been reached."
    return None


@RULES(ROUTE, "EC2 API error codes: RouteAlreadyExists")
def route_twice(asked: Asked) -> str | None:
    """Refuse a second route of a table to one place."""
    mine = (asked.text("routeTableId"), asked.text("destinationCidrBlock"))
    for other in asked.here(ROUTE):
        if mine == (other.inputs.get("routeTableId"), other.inputs.get("destinationCidrBlock")) and all(mine):
            return f"RouteAlreadyExists: The route identified by {mine[1]} already exists."
    return None


@RULES(ENDPOINT, "AWS PrivateLink: one subnet for each Availability Zone")
def endpoint_zone_twice(asked: Asked) -> str | None:
    """Refuse an interface endpoint with two subnets of one zone."""
    subnets = [asked.by_id(SUBNET, identity) for identity in asked.texts("subnetIds")]
    zones = Counter(_zone(s.inputs) for s in subnets if s)
    if any(count > 1 for zone, count in zones.items() if zone):
        return "DuplicateSubnetsInSameZone: Found another VPC endpoint subnet in the availability zone"
    return None


def _zone(inputs: dict[str, object]) -> object:
    return inputs.get("availabilityZoneId") or inputs.get("availabilityZone")


@RULES(ENDPOINT, "AWS PrivateLink: private DNS needs a name that no other endpoint of the VPC has")
def endpoint_twice(asked: Asked) -> str | None:
    """Refuse a second endpoint of a service with private DNS in one network."""
    for other in asked.here(ENDPOINT):
        same = all(other.inputs.get(key) == asked.inputs.get(key) for key in ("vpcId", "serviceName"))
        if same and asked.inputs.get("privateDnsEnabled") is True and other.inputs.get("privateDnsEnabled") is True:
            return "InvalidParameter: private-dns-enabled cannot be set: there is already a conflicting DNS domain"
    return None


@RULES(GROUP, "EC2 API reference, CreateSecurityGroup: constraints of GroupDescription")
def group_description(asked: Asked) -> str | None:
    """Refuse letters that a description may not hold."""
    if not _DESCRIPTION.fullmatch(asked.text("description")):
        return "InvalidParameterValue: Invalid security group description."
    return None


@RULES(PEERING, "Amazon VPC peering guide: no overlapping CIDR blocks")
def peering_overlap(asked: Asked) -> str | None:
    """Refuse to peer networks whose ranges overlap."""
    networks = {r.id: r for r in asked.cloud.resources(VPC)}
    found = [networks.get(asked.text(key)) for key in ("vpcId", "peerVpcId")]
    ranges = [_range(str(vpc.inputs["cidrBlock"])) for vpc in found if vpc]
    if len(ranges) == 2 and ranges[0] and ranges[1] and ranges[0].overlaps(ranges[1]):
        return "InvalidParameterValue: The CIDR blocks of the VPCs overlap"
    return None


@RULES(FLOW_LOG, "Amazon VPC user guide, publish flow logs to S3: permissions of the bucket")
def flow_log_bucket(asked: Asked) -> str | None:
    """Refuse flow logs into a bucket that log delivery may not write."""
    arn = asked.text("logDestination")
    if not arn.startswith("arn:aws:s3:::"):
        return None
    bucket = arn.removeprefix("arn:aws:s3:::").partition("/")[0]
    policies = asked.cloud.resources("aws:s3/bucketPolicy:BucketPolicy")
    if not any(p.inputs.get("bucket") == bucket and "delivery.logs" in str(p.inputs.get("policy")) for p in policies):
        return f"InvalidParameter: Access Denied for LogDestination: {bucket}. Please check LogDestination permission"
    return None
