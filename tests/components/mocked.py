"""Makes a component with Pulumi's mocks and remembers every resource that it asked for.

Imports Pulumi. Called by the tests of components.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks, set_mocks, test

from components.tags import Owned

# How the Pulumi protocol marks a secret. Source: pulumi SDK, `rpc.py`.
_SECRET = "1b47061264138c4ac30d75fd1eb44270"
ACCOUNT = "111122223333"
OWNED = Owned("prod", "ml-platform", "cc-1")
SUPPORT = OWNED.by("support")


@dataclass(frozen=True)
class Made:
    """One resource as a component asked for it; `inputs` are spelled as on the wire."""

    type: str
    name: str
    inputs: Mapping[str, Any]

    def at(self, path: str) -> Any:
        """Return an input by its path, such as `spec.replicas`; None where nothing is."""
        value: Any = self.inputs
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else (value or {}).get(part)
        return value


@dataclass
class Recorded(Mocks):
    """Everything that was asked for. Outputs are the inputs, and what the components read beside them."""

    made: list[Made] = field(default_factory=list)

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Remember a resource and invent its outputs."""
        self.made.append(Made(args.typ, args.name, args.inputs))
        identity = "lt-0123456789abcdef0" if args.typ.endswith(":LaunchTemplate") else f"{args.name}-id"
        return identity, {"name": args.name, **args.inputs, **_outputs(args)}

    def call(self, args: MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        """Answer the data sources that components ask."""
        known: dict[str, dict[Any, Any]] = {
            "aws:eks/getAddonVersion:getAddonVersion": {"version": "v1.2.3-eksbuild.1"},
            "aws:ssm/getParameter:getParameter": {"value": "1.35.1-20261101"},
            "aws:secretsmanager/getSecret:getSecret": {
                "arn": f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:{args.args.get('name')}-AbCdEf"
            },
        }
        return known.get(args.token, {"accountId": ACCOUNT, "randomPassword": "drawn"}), []

    def of(self, kind: str) -> list[Made]:
        """Return the resources whose type is, or ends in, `kind`."""
        return [m for m in self.made if m.type == kind or m.type.endswith((f":{kind}", f"/{kind}"))]

    def one(self, kind: str, name: str | None = None) -> Made:
        """Return the only resource of a kind, or the one with that name."""
        found = [m for m in self.of(kind) if name is None or m.name == name]
        assert len(found) == 1, f"{kind} {name}: {[m.name for m in found]}"
        return found[0]

    def cloud(self) -> Iterator[Made]:
        """Yield the resources in AWS."""
        return (m for m in self.made if m.type.startswith("aws:"))

    def objects(self) -> Iterator[Made]:
        """Yield the Kubernetes objects."""
        return (m for m in self.made if m.type.startswith("kubernetes:") and "helm" not in m.type)


def make(component: Callable[[], object]) -> Recorded:
    """Return what a component asks for, after everything that it started has settled."""
    recorded = Recorded()
    with own_loop():
        set_mocks(recorded, project="sluice", stack="prod", preview=False)

        settled: Callable[[Callable[[], None]], Callable[[], None]] = test
        settled(lambda: (component(), None)[1])()
    return recorded


@contextmanager
def own_loop() -> Iterator[None]:
    """Give the main thread an event loop where asyncio tests before have taken it away: components run on it."""
    if _has_loop():
        yield
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _has_loop() -> bool:
    try:
        asyncio.get_event_loop()
    except RuntimeError:
        return False
    return True


def secret_value(value: Any) -> Any:
    """Return what a secret input holds; fail when it travels as a plain value."""
    assert isinstance(value, dict), f"{value!r} is not marked as a secret"
    assert _SECRET in value.values(), f"{value!r} is not marked as a secret"
    return value["value"]


def plain(value: Any) -> Any:
    """Return an input with the values of its secrets in place."""
    match value:
        case dict():
            return plain(value["value"]) if _SECRET in value.values() else {k: plain(v) for k, v in value.items()}
        case list():
            return [plain(inner) for inner in value]
        case _:
            return value


def foundation_outputs() -> dict[str, Any]:
    """Return what the foundation's stack would say of three regions."""
    config: dict[str, Any] = {"clusters": [{"cluster": {}}], "users": [{"user": {}}]}
    region = {
        "bucket": "models",
        "bucket_arn": "arn:aws:s3:::models",
        "key_arn": f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/state",
        "eks_name": "cluster",
        "cluster_arn": f"arn:aws:eks:eu-west-1:{ACCOUNT}:cluster/cluster",
        "endpoint": "https://cluster.example",
        "kubeconfig": json.dumps(config),
        "security_group_id": "sg-cluster",
        "subnet_ids": {f"{zone}-az{n}": f"subnet-{zone}{n}" for zone in ("euc1", "use1") for n in (1, 2, 3, 4)},
        "disk_key_arn": f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/disks",
        "queue": "queue",
        "profile": "profile",
        "rate_store": "store.example:6379",
    }
    teams = {
        team: f"arn:aws:sns:eu-west-1:{ACCOUNT}:{team}" for team in ("support", "search", "developer-tools", "platform")
    }
    return {
        "account": ACCOUNT,
        "regions": {name: {**region, "topics": teams} for name in ("eu-central-1", "us-east-1", "ap-northeast-1")},
    }


def _outputs(args: MockResourceArgs) -> dict[str, Any]:
    arn = f"arn:aws:mock:eu-west-1:{ACCOUNT}:{args.name}"
    found: dict[str, Any] = {"arn": arn}
    match args.typ:
        case "pulumi:pulumi:StackReference":
            found["outputs"] = foundation_outputs()
        case "aws:eks/cluster:Cluster":
            found["endpoint"] = "https://cluster.example"
            found["certificateAuthority"] = {"data": "Q0E="}
            found["vpcConfig"] = {**args.inputs["vpcConfig"], "clusterSecurityGroupId": "sg-cluster"}
        case "aws:ec2/launchTemplate:LaunchTemplate":
            found["latestVersion"] = 1
        case "aws:sqs/queue:Queue":
            found["url"] = f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/{args.name}"
        case "aws:kms/key:Key":
            found["keyId"] = "0123abcd-key"
        case "aws:elasticache/replicationGroup:ReplicationGroup":
            found["primaryEndpointAddress"] = "store.example"
        case "aws:rds/instance:Instance":
            found["address"] = "db.example"
        case "aws:ecr/repository:Repository":
            found["repositoryUrl"] = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/{args.inputs['name']}"
        case _:
            pass
    return found
