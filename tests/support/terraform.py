"""Terraform's AWS provider as a second opinion: what Pulumi asks for, written as Terraform's JSON and validated.

Both providers are made from the same code. What this one refuses, the other refuses too, but only during `up`: lengths
and letters of names, values out of a list, arguments that exclude each other, ranges, policies that are no JSON.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

# Where a provider may lie unpacked. Nobody needs Terraform to work on Sluice, so its absence is a skip even in CI.
_MIRRORS = (
    Path.home() / ".terraform.d",
    Path("/usr/share/terraform"),
    Path("/usr/local/share/terraform"),
    Path("/opt"),
)
_PROVIDER = "*/registry.terraform.io/hashicorp/aws"
# Pulumi's names that do not follow from Terraform's.
_TYPES = {
    "aws:ec2/peeringConnectionOptions:PeeringConnectionOptions": "aws_vpc_peering_connection_options",
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": "aws_s3_bucket_replication_configuration",
    "aws:rds/instance:Instance": "aws_db_instance",
    "aws:rds/parameterGroup:ParameterGroup": "aws_db_parameter_group",
    "aws:rds/subnetGroup:SubnetGroup": "aws_db_subnet_group",
}
# Pulumi's arguments that version 5 of the provider lacks: later ones, and one that is called otherwise.
_NEWER = frozenset({"region"})
_NEWER_OF = {
    "aws_eks_cluster": frozenset({"deletionProtection"}),
    "aws_budgets_budget": frozenset({"metrics", "filterExpression"}),
}
_RENAMED = {
    "aws_sns_topic_subscription": {"topic": "topicArn"},
    "aws_cloudwatch_metric_alarm": {"name": "alarmName"},
}
_HUMP = re.compile(r"(?<!^)(?=[A-Z])")


class Unknown(Exception):
    """A type or an argument that Terraform's provider does not have."""


@dataclass(frozen=True)
class Asked:
    """A resource that Pulumi asks for; `inputs` are spelled as on the wire."""

    type: str
    name: str
    inputs: Mapping[str, Any]


@dataclass
class Terraform:
    """Terraform in a folder of its own, with the provider that is on this machine."""

    folder: Path
    schemas: Mapping[str, Any] = field(default_factory=dict)

    def refusals(self, resources: Iterable[Asked]) -> list[str]:
        """Return what the provider says against resources: where, and what."""
        found: dict[str, dict[str, Any]] = {}
        for i, asked in enumerate(resources):
            kind = self.type_of(asked.type)
            found.setdefault(kind, {})[_label(asked.name, i)] = self.written(kind, asked)
        (self.folder / "resources.tf.json").write_text(json.dumps({"resource": found}))
        said = json.loads(self.run("validate", "-json"))
        return [f"{d.get('address', '')}: {d['summary']} {d.get('detail', '')}" for d in said["diagnostics"]]

    def type_of(self, token: str) -> str:
        """Return Terraform's name of a type.

        Raises:
            Unknown: there is none.
        """
        module, name = token.split(":")[1].split("/")
        snake = _snake(name)
        for candidate in (_TYPES.get(token, ""), f"aws_{module}_{snake}", f"aws_{snake}"):
            if candidate in self.schemas:
                return candidate
        raise Unknown(f"Terraform has no resource for {token}")

    def written(self, kind: str, asked: Asked) -> dict[str, Any]:
        """Return a resource's arguments as Terraform names them."""
        newer, renamed = _NEWER | _NEWER_OF.get(kind, frozenset()), _RENAMED.get(kind, {})
        inputs = {renamed.get(key, key): value for key, value in asked.inputs.items() if key not in newer}
        shape = self.schemas[kind]["block"]
        name = renamed.get("name", "name")
        told = shape["attributes"].get(_snake(name), {})
        if (told.get("required") or told.get("optional")) and not {name, "namePrefix"} & inputs.keys():
            inputs[name] = f"{asked.name}-0123abc"  # as Pulumi draws one where none is given
        return _block(inputs, shape, f"{kind} {asked.name}")

    def run(self, *arguments: str) -> str:
        """Run a command and return its output; `validate` says in it what is wrong."""
        done = subprocess.run(["terraform", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        assert done.stdout, done.stderr
        return done.stdout


def terraform(folder: Path) -> Terraform:
    """Return Terraform with its schemas read; skip the test where it or its provider is not on this machine."""
    plugins = next((found.parents[2] for mirror in _MIRRORS for found in mirror.glob(_PROVIDER)), None)
    if shutil.which("terraform") is None or plugins is None:
        pytest.skip(
            "no Terraform with its AWS provider; `terraform providers mirror ~/.terraform.d/plugins` fetches it"
        )
    provider = {"aws": {"source": "hashicorp/aws"}}
    settings = {"terraform": {"required_providers": provider}, "provider": {"aws": {"region": "eu-central-1"}}}
    (folder / "main.tf.json").write_text(json.dumps(settings))
    found = Terraform(folder)
    found.run("init", f"-plugin-dir={plugins}", "-no-color")
    schemas = json.loads(found.run("providers", "schema", "-json"))
    (only,) = schemas["provider_schemas"].values()
    return Terraform(folder, only["resource_schemas"])


def _block(inputs: Mapping[str, Any], shape: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return arguments under Terraform's names; a block that Pulumi shows as one object is a list of one."""
    attributes, blocks = shape.get("attributes", {}), shape.get("block_types", {})
    found: dict[str, Any] = {}
    for key, value in inputs.items():
        name = next((n for n in _names(key) if n in attributes or n in blocks), None)
        if name is None:
            raise Unknown(f"{where}: Terraform has no argument {key}")
        if name in blocks:
            many = value if isinstance(value, list) else [value]
            found[name] = [_block(one, blocks[name]["block"], f"{where}.{name}") for one in many]
        else:
            found[name] = _value(value, attributes[name].get("type"))
    return found


def _value(value: Any, kind: Any) -> Any:
    """Return an argument's value; keys of objects are renamed and complete, those of maps are the user's own."""
    if isinstance(kind, list) and kind[0] in ("list", "set"):
        return [_value(one, kind[1]) for one in (value if isinstance(value, list) else [value])]
    if isinstance(kind, list) and kind[0] == "object":
        return dict.fromkeys(kind[1]) | {next(n for n in _names(k) if n in kind[1]): v for k, v in value.items()}
    return value


def _names(key: str) -> Iterator[str]:
    """Yield what a name may be in Terraform: the same, or the singular where Pulumi has a list."""
    snake = _snake(key)
    yield snake
    yield snake.removesuffix("s")
    yield re.sub(r"ies$", "y", snake)


def _snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()


def _label(name: str, number: int) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "-", f"r{number}-{name}")
