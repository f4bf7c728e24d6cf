"""The data sources of AWS that programs commonly ask, answered from the account's own resources where it has them.

Pure but for reading the account. Called by `aws_provider`.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.pulumi_engine.aws_cloud import AwsCloud
from tests.support.pulumi_engine.aws_facts import ACCOUNT, CALLER
from tests.support.pulumi_engine.provider import Refused
from tests.support.pulumi_engine.wire import Properties


@dataclass(frozen=True)
class Question:
    """One call of a data source."""

    arguments: Properties
    region: str
    cloud: AwsCloud

    def text(self, name: str) -> str:
        """Return an argument that must be there."""
        value = self.arguments.get(name)
        if not isinstance(value, str):
            raise Refused(f'this data source needs the argument "{name}"')
        return value


def answer(token: str, arguments: Properties, *, region: str, cloud: AwsCloud) -> Properties:
    """Return what a data source says.

    Raises:
        Refused: there is no answer for it, or it names something that the account does not have.
    """
    from environments.errors import nearest

    source = _SOURCES.get(token)
    if source is None:
        raise Refused(f'the aws provider of the tests has no data source "{token}" ({nearest(token, _SOURCES)})')
    return {"id": token.rpartition(":")[2], **arguments, "region": region, **source(Question(arguments, region, cloud))}


def _addon_version(asked: Question) -> Properties:
    name, version = asked.text("addonName"), asked.text("kubernetesVersion")
    return {"version": f"v1.{version.rpartition('.')[2]}.0-eksbuild.1", "id": name}


def _zones(asked: Question) -> Properties:
    names = [f"{asked.region}{letter}" for letter in "abc"]
    return {"names": names, "zoneIds": [f"{asked.region}-az{n}" for n in (1, 2, 3)], "groupNames": [asked.region]}


def _identity(asked: Question) -> Properties:
    return {"accountId": ACCOUNT, "arn": CALLER, "userId": "AROATEST:tests", "id": ACCOUNT}


def _partition(asked: Question) -> Properties:
    return {"partition": "aws", "dnsSuffix": "amazonaws.com", "reverseDnsPrefix": "com.amazonaws", "id": "aws"}


def _region(asked: Question) -> Properties:
    name = asked.arguments.get("region") or asked.arguments.get("name") or asked.region
    return {"name": name, "region": name, "description": name, "endpoint": f"ec2.{name}.amazonaws.com", "id": name}


def _parameter(asked: Question) -> Properties:
    """Answer from the account's parameters; AWS's own public ones (machine images) have a value drawn from the name."""
    name = asked.text("name")
    for found in asked.cloud.resources("aws:ssm/parameter:Parameter"):
        if found.inputs.get("name") == name:
            return {**found.outputs, "id": name, "withDecryption": True}
    if not name.startswith("/aws/service/"):
        raise Refused(f'ParameterNotFound: no parameter "{name}" in {asked.region}')
    value = _image(f"{asked.region} {name}") if "image" in name else "recommended"
    return {"value": value, "type": "String", "version": 1, "arn": f"arn:aws:ssm:{asked.region}::parameter{name}"}


def _ami(asked: Question) -> Properties:
    image = _image(f"{asked.region} {json.dumps(asked.arguments, sort_keys=True)}")
    return {"id": image, "imageId": image, "architecture": "x86_64", "name": image, "rootDeviceName": "/dev/xvda"}


def _cluster(asked: Question) -> Properties:
    name = asked.text("name")
    for found in asked.cloud.resources("aws:eks/cluster:Cluster"):
        if found.id == name and found.region == asked.region:
            authorities = [found.outputs["certificateAuthority"]]
            return {**found.outputs, "id": name, "certificateAuthorities": authorities}
    raise Refused(f'ResourceNotFoundException: no cluster "{name}" in {asked.region}')


def _cluster_auth(asked: Question) -> Properties:
    return {"token": f"k8s-aws-v1.{hashlib.sha256(asked.text('name').encode()).hexdigest()}", "id": asked.text("name")}


def _ecr_token(asked: Question) -> Properties:
    address = f"https://{ACCOUNT}.dkr.ecr.{asked.region}.amazonaws.com"
    return {"userName": "AWS", "password": "token", "proxyEndpoint": address, "authorizationToken": "QVdTOnRva2Vu"}


def _secret(asked: Question) -> Properties:
    name = asked.text("name")
    for found in asked.cloud.resources("aws:secretsmanager/secret:Secret"):
        if found.inputs.get("name") == name and found.region == asked.region:
            return {**found.outputs, "id": found.outputs["arn"]}
    raise Refused(f'ResourceNotFoundException: Secrets Manager can\'t find the specified secret "{name}"')


def _policy(asked: Question) -> Properties:
    found = asked.arguments.get("arn") or f"arn:aws:iam::aws:policy/{asked.text('name')}"
    return {"arn": found, "name": str(found).rpartition("/")[2], "id": found}


def _policy_document(asked: Question) -> Properties:
    """Build the JSON text of a policy as the provider does: one value alone is a text, several a sorted list."""
    statements = [_statement(s) for s in asked.arguments.get("statements", [])]
    for text in asked.arguments.get("sourcePolicyDocuments", []):
        statements = [*json.loads(text)["Statement"], *statements]
    document: Properties = {"Version": asked.arguments.get("version", "2012-10-17"), "Statement": statements}
    if "policyId" in asked.arguments:
        document["Id"] = asked.arguments["policyId"]
    return {"json": json.dumps(document, indent=2), "minifiedJson": json.dumps(document, separators=(",", ":"))}


def _statement(given: Properties) -> Properties:
    plain = {"sid": "Sid", "actions": "Action", "notActions": "NotAction", "resources": "Resource"}
    made: Properties = {"Effect": given.get("effect", "Allow")}
    made |= {
        key: _alone(given[name]) for name, key in {**plain, "notResources": "NotResource"}.items() if name in given
    }
    for name, key in (("principals", "Principal"), ("notPrincipals", "NotPrincipal")):
        if name in given:
            made[key] = {p["type"]: _alone(p["identifiers"]) for p in given[name]}
    if given.get("conditions"):
        made["Condition"] = _conditions(given["conditions"])
    return made


def _conditions(given: list[Properties]) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for condition in given:
        made.setdefault(condition["test"], {})[condition["variable"]] = _alone(condition["values"])
    return made


def _alone(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return value[0] if len(value) == 1 else sorted(value)


def _image(seed: str) -> str:
    return f"ami-{hashlib.sha256(seed.encode()).hexdigest()[:17]}"


def _random_password(asked: Question) -> Properties:
    """Draw another password each time, as AWS does: a program that does not keep the first one shows a change."""
    length = asked.arguments.get("passwordLength", 32)
    return {"randomPassword": secrets.token_hex(length)[:length], "id": asked.region}


_SOURCES: dict[str, Callable[[Question], Properties]] = {
    "aws:ec2/getAmi:getAmi": _ami,
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": _ecr_token,
    "aws:eks/getAddonVersion:getAddonVersion": _addon_version,
    "aws:eks/getCluster:getCluster": _cluster,
    "aws:eks/getClusterAuth:getClusterAuth": _cluster_auth,
    "aws:iam/getPolicy:getPolicy": _policy,
    "aws:iam/getPolicyDocument:getPolicyDocument": _policy_document,
    "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
    "aws:index/getCallerIdentity:getCallerIdentity": _identity,
    "aws:index/getPartition:getPartition": _partition,
    "aws:index/getRegion:getRegion": _region,
    "aws:secretsmanager/getRandomPassword:getRandomPassword": _random_password,
    "aws:secretsmanager/getSecret:getSecret": _secret,
    "aws:ssm/getParameter:getParameter": _parameter,
}
