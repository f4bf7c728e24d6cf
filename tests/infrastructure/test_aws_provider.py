"""The aws provider of the tests is strict: inputs, types, references, names and protection, without the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn, cast

import grpc  # type: ignore[import-untyped]
import pytest
from pulumi.runtime.proto import provider_pb2

from tests.support.pulumi_engine import aws_data, aws_schema
from tests.support.pulumi_engine.aws_cloud import AwsCloud
from tests.support.pulumi_engine.aws_provider import AwsProvider
from tests.support.pulumi_engine.aws_rules import propagation
from tests.support.pulumi_engine.provider import Refused
from tests.support.pulumi_engine.wire import UNKNOWN, decode, encode

VPC = "aws:ec2/vpc:Vpc"
ROLE = "aws:iam/role:Role"
CLUSTER = "aws:eks/cluster:Cluster"
GROUP = "aws:eks/nodeGroup:NodeGroup"
DATABASE = "aws:rds/instance:Instance"


class Connection:
    """What gRPC would hand to the provider for one connection of the engine."""

    def __init__(self, address: str) -> None:
        self._address = address

    def peer(self) -> str:
        """Return the address that tells connections apart."""
        return self._address

    def abort(self, code: grpc.StatusCode, message: str) -> NoReturn:
        """Raise what the engine would be told."""
        raise Refused(message)


class Account:
    """A provider configured for one region over one connection."""

    def __init__(self, cloud: AwsCloud, provider: AwsProvider, region: str) -> None:
        self.cloud = cloud
        self.provider = provider
        self.connection = cast(grpc.ServicerContext, Connection(region))
        provider.Configure(provider_pb2.ConfigureRequest(args=encode({"region": region})), self.connection)

    def create(self, token: str, inputs: dict[str, Any], *, preview: bool = False) -> dict[str, Any]:
        """Create a resource and return its outputs."""
        request = provider_pb2.CreateRequest(
            urn=f"urn:pulumi:dev::test::{token}::x", type=token, properties=encode(inputs), preview=preview
        )
        return decode(self.provider.Create(request, self.connection).properties)

    def check(self, token: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs as the provider completes them."""
        request = provider_pb2.CheckRequest(
            urn=f"urn:pulumi:dev::test::{token}::x", type=token, news=encode(inputs), randomSeed=b"seed-of-32-bytes"
        )
        return decode(self.provider.Check(request, self.connection).inputs)

    def delete(self, token: str, identity: str) -> None:
        """Delete a resource."""
        urn = f"urn:pulumi:dev::test::{token}::x"
        self.provider.Delete(provider_pb2.DeleteRequest(id=identity, urn=urn, type=token), self.connection)

    def replaces(self, token: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
        """Return the inputs whose change needs a new resource."""
        request = provider_pb2.DiffRequest(
            urn=f"urn:pulumi:dev::test::{token}::x", type=token, old_inputs=encode(old), news=encode(new)
        )
        return list(self.provider.Diff(request, self.connection).replaces)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    """Return an empty account, seen from Ireland."""
    cloud = AwsCloud(tmp_path / "aws.db")
    return Account(cloud, AwsProvider(cloud), "eu-west-1")


@pytest.mark.parametrize(
    ("token", "inputs", "says"),
    [
        ("aws:ec2/subnet:Subnet", {"cidrBlock": "10.0.0.0/24"}, 'missing required input "vpcId"'),
        (VPC, {"cidrBlok": "10.0.0.0/16"}, 'unknown input "cidrBlok" (nearest: "cidrBlock"'),
        (VPC, {"enableDnsSupport": "yes"}, '"enableDnsSupport" must be bool, got str "yes"'),
        (VPC, {"enableDnsSupport": 1}, '"enableDnsSupport" must be bool, got int 1'),
        (VPC, {"tags": {"owner": 7}}, '"tags.owner" must be str, got int 7'),
        ("aws:sqs/queue:Queue", {"delaySeconds": 1.5}, '"delaySeconds" must be int, got float 1.5'),
        (CLUSTER, {"roleArn": "r", "vpcConfig": {"subnetIds": "s"}}, '"vpcConfig.subnetIds" must be a list of str'),
        (CLUSTER, {"roleArn": "r", "vpcConfig": {"subnetIds": ["a", 3]}}, '"vpcConfig.subnetIds[1]" must be str'),
        (CLUSTER, {"roleArn": "r", "vpcConfig": {}}, 'missing required input "subnetIds"'),
        ("aws:ec2/vpcs:Vpcs", {}, 'has no resource "aws:ec2/vpcs:Vpcs"'),
    ],
)
def test_wrong_inputs_are_named(token: str, inputs: dict[str, Any], says: str) -> None:
    reasons = [failure.reason for failure in aws_schema.failures(token, inputs)]
    assert len(reasons) == 1
    assert says in reasons[0]


@pytest.mark.parametrize(
    ("token", "inputs"),
    [
        (VPC, {"cidrBlock": "10.0.0.0/16", "enableDnsSupport": True, "tags": {"a": UNKNOWN}}),
        ("aws:ec2/subnet:Subnet", {"vpcId": UNKNOWN, "cidrBlock": "10.0.0.0/24"}),
        (ROLE, {"assumeRolePolicy": '{"Version": "2012-10-17"}', "managedPolicyArns": ["arn:aws:iam::aws:policy/x"]}),
        (CLUSTER, {"roleArn": UNKNOWN, "vpcConfig": {"subnetIds": UNKNOWN}}),
        (CLUSTER, {"roleArn": "r", "vpcConfig": {"subnetIds": ["a", UNKNOWN], "endpointPublicAccess": False}}),
    ],
)
def test_right_inputs_are_accepted(token: str, inputs: dict[str, Any]) -> None:
    assert list(aws_schema.failures(token, inputs)) == []


def test_a_preview_knows_only_what_the_program_gave(account: Account) -> None:
    planned = account.create(CLUSTER, {"name": "c", "roleArn": "r", "vpcConfig": {"subnetIds": ["s"]}}, preview=True)
    assert planned["name"] == "c"
    assert planned["arn"] == planned["endpoint"] == planned["vpcConfig"]["clusterSecurityGroupId"] == UNKNOWN
    assert account.cloud.resources() == []


def test_a_cluster_has_what_programs_read(account: Account) -> None:
    made = account.create(CLUSTER, {"name": "c", "roleArn": "r", "vpcConfig": {"subnetIds": ["s"]}})
    assert made["id"] == "c"
    assert made["arn"] == "arn:aws:eks:eu-west-1:123456789012:cluster/c"
    assert made["endpoint"].endswith(".eu-west-1.eks.amazonaws.com")
    assert made["identities"][0]["oidcs"][0]["issuer"].startswith("https://oidc.eks.eu-west-1.")
    assert made["vpcConfig"]["subnetIds"] == ["s"]
    group = made["vpcConfig"]["clusterSecurityGroupId"]
    account.create("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", {"securityGroupId": group})


def test_each_connection_has_its_own_region(account: Account) -> None:
    other = Account(account.cloud, account.provider, "us-east-1")
    assert account.create(VPC, {})["arn"].startswith("arn:aws:ec2:eu-west-1:")
    assert other.create(VPC, {})["arn"].startswith("arn:aws:ec2:us-east-1:")
    assert account.create(VPC, {"region": "ap-south-1"})["region"] == "ap-south-1"


def test_a_name_is_taken_once(account: Account) -> None:
    elsewhere = Account(account.cloud, account.provider, "us-east-1")
    role = {"name": "r", "assumeRolePolicy": '{"Statement": [{"Effect": "Allow", "Principal": {"Service": "x"}}]}'}
    account.create(ROLE, role)
    with pytest.raises(Refused, match="EntityAlreadyExists"):
        elsewhere.create(ROLE, role)
    account.create("aws:cloudwatch/logGroup:LogGroup", {"name": "g"})
    elsewhere.create("aws:cloudwatch/logGroup:LogGroup", {"name": "g"})


TRUST = '{"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "x"}]}'
NODES: dict[str, Any] = {
    "clusterName": "c",
    "nodeGroupName": "g",
    "subnetIds": ["s"],
    "scalingConfig": {"minSize": 0, "desiredSize": 0, "maxSize": 1},
}


def test_a_service_sees_a_new_role_only_after_a_while(account: Account) -> None:
    """Name the role at once where the provider asks a single time: refused. A few changes later it is seen."""
    role = account.create(ROLE, {"name": "r", "assumeRolePolicy": TRUST})
    with pytest.raises(Refused, match="role cannot be found"):
        account.create(GROUP, NODES | {"nodeRoleArn": role["arn"]})
    for network in range(propagation.SEEN_AFTER):
        account.create(VPC, {"cidrBlock": f"10.{network}.0.0/16"})
    account.create(GROUP, NODES | {"nodeRoleArn": role["arn"]})
    assert not account.cloud.was_retried(GROUP)


def test_the_provider_asks_again_where_it_knows_that_a_role_takes_a_while(account: Account) -> None:
    role = account.create(ROLE, {"name": "r", "assumeRolePolicy": TRUST})
    account.create(CLUSTER, {"name": "c", "roleArn": role["arn"], "vpcConfig": {"subnetIds": ["s"]}})
    assert account.cloud.was_retried(CLUSTER)
    assert all(told.retried for token, told in propagation.SAYS.items() if token != GROUP)


def test_a_role_of_another_day_is_seen_at_once(account: Account) -> None:
    role = account.create(ROLE, {"name": "r", "assumeRolePolicy": TRUST})
    account.cloud.forget_calls()
    assert account.create(GROUP, NODES | {"nodeRoleArn": role["arn"]})["arn"]


def test_a_reference_to_nothing_is_refused(account: Account) -> None:
    with pytest.raises(Refused, match="does not exist"):
        account.create("aws:ec2/subnet:Subnet", {"vpcId": "vpc-0123456789abcdef0"})


def test_a_protected_database_stays(account: Account) -> None:
    made = account.create(DATABASE, {"identifier": "d", "instanceClass": "db.t4g.micro", "deletionProtection": True})
    with pytest.raises(Refused, match="deletion protection"):
        account.delete(DATABASE, made["id"])
    account.cloud.unprotect()
    account.delete(DATABASE, made["id"])
    assert account.cloud.resources() == []


def test_a_name_is_drawn_where_none_is_given(account: Account) -> None:
    assert account.check(ROLE, {"assumeRolePolicy": "{}"})["name"].startswith("x-")
    assert "name" not in account.check(ROLE, {"assumeRolePolicy": "{}", "namePrefix": "p"})
    assert "bucket" not in account.check("aws:s3/bucketVersioning:BucketVersioning", {})


def test_some_changes_need_a_new_resource(account: Account) -> None:
    assert account.replaces(VPC, {"cidrBlock": "10.0.0.0/16"}, {"cidrBlock": "10.1.0.0/16"}) == ["cidrBlock"]
    assert account.replaces(VPC, {"enableDnsSupport": True}, {"enableDnsSupport": False}) == []
    assert account.replaces(ROLE, {"name": "a"}, {"name": "b"}) == ["name"]


def test_data_sources(account: Account) -> None:
    def ask(token: str, **arguments: Any) -> dict[str, Any]:
        return aws_data.answer(token, arguments, region="eu-west-1", cloud=account.cloud)

    zones = ask("aws:index/getAvailabilityZones:getAvailabilityZones", state="available")
    assert zones["names"] == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
    statement = {"actions": ["s3:GetObject"], "resources": ["b", "a"], "effect": "Deny"}
    document = ask("aws:iam/getPolicyDocument:getPolicyDocument", statements=[statement])["minifiedJson"]
    assert '"Effect":"Deny","Action":"s3:GetObject","Resource":["a","b"]' in document
    with pytest.raises(Refused, match="ParameterNotFound"):
        ask("aws:ssm/getParameter:getParameter", name="/mine")
    with pytest.raises(Refused, match='nearest: "aws:ec2/getAmi:getAmi"'):
        ask("aws:ec2/getAmis:getAmis")
