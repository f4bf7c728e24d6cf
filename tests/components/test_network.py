"""Networks: private subnets over zones, as many ways out as the environment pays for, and no open door."""

from __future__ import annotations

import ipaddress

import pytest

from components.network import INTERFACE_ENDPOINTS, Network, NetworkArgs, subnets
from tests.components.mocked import ACCOUNT, OWNED, Recorded, make
from tests.support import iam_rules

DELIVERY = "delivery.logs.amazonaws.com"

ZONES = ("euc1-az1", "euc1-az2", "euc1-az3")


def network(*, per_zone: bool = True, private: bool = True) -> Recorded:
    args = NetworkArgs("eu-central-1", "10.0.0.0/16", ZONES, per_zone, private, ACCOUNT, 90, True, OWNED)
    return make(lambda: Network("net", args))


@pytest.mark.parametrize("cidr", ["10.0.0.0/16", "172.20.32.0/20"])
def test_subnets_lie_inside_the_network_and_apart(cidr: str) -> None:
    ranges = [ipaddress.IPv4Network(r) for s in subnets(cidr, ZONES) for r in (s.private, s.public)]
    assert all(r.subnet_of(ipaddress.IPv4Network(cidr)) for r in ranges)
    assert not [(a, b) for a in ranges for b in ranges if a is not b and a.overlaps(b)]


@pytest.mark.parametrize(("per_zone", "gateways"), [(True, 3), (False, 1)])
def test_there_are_as_many_nat_gateways_as_asked_for(per_zone: bool, gateways: int) -> None:
    made = network(per_zone=per_zone)
    assert len(made.of("NatGateway")) == gateways
    private = [r for r in made.of("Route") if "natGatewayId" in r.inputs]
    assert len(private) == len(ZONES)
    assert len({r.inputs["natGatewayId"] for r in private}) == gateways


def test_no_machine_gets_a_public_address() -> None:
    assert all(s.inputs["mapPublicIpOnLaunch"] is False for s in network().of("Subnet"))


def test_the_default_security_group_lets_nothing_through() -> None:
    group = network().one("DefaultSecurityGroup")
    assert (group.inputs["ingress"], group.inputs["egress"]) == ([], [])


def test_aws_services_are_reached_without_the_internet() -> None:
    endpoints = {
        e.inputs["serviceName"].removeprefix("com.amazonaws.eu-central-1."): e for e in network().of("VpcEndpoint")
    }
    assert set(endpoints) == {"s3", *INTERFACE_ENDPOINTS}
    assert {"ecr.api", "ecr.dkr", "sts", "logs"} <= set(endpoints)
    assert len(endpoints["s3"].inputs["routeTableIds"]) == len(ZONES)


def test_the_bucket_of_models_is_reached_for_nothing_where_other_services_are_not() -> None:
    assert [e.inputs["vpcEndpointType"] for e in network(private=False).of("VpcEndpoint")] == ["Gateway"]


def test_zones_are_named_by_ids() -> None:
    assert {s.inputs["availabilityZoneId"] for s in network().of("Subnet")} == set(ZONES)


def test_all_traffic_is_logged_as_files_that_end() -> None:
    made = network()
    log = made.one("FlowLog")
    assert (log.inputs["trafficType"], log.inputs["logDestinationType"]) == ("ALL", "s3")
    assert log.at("destinationOptions.fileFormat") == "parquet"
    rule = made.one("BucketLifecycleConfiguration").at("rules.0")
    assert rule["expiration"] == {"days": 90}


def test_log_delivery_alone_writes_the_flow_logs() -> None:
    policy = network().one("BucketPolicy").inputs["policy"]
    where = "arn:aws:mock:eu-west-1:111122223333:net-flow/AWSLogs/x"
    ours = {"aws:SourceAccount": ACCOUNT, "s3:x-amz-acl": "bucket-owner-full-control", "aws:SecureTransport": "true"}
    foreign = {**ours, "aws:SourceAccount": "999999999999"}
    calls = [iam_rules.Call(DELIVERY, "s3:PutObject", where, context) for context in (ours, foreign)]
    assert [iam_rules.allows(policy, call) for call in calls] == [True, False]
