"""Infrastructure in a plan: the real Pulumi engine, a double of AWS, and the commands as users call them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from tests.support.cli import Cli, Result, project
from tests.support.pulumi_engine.harness import Outcome, PulumiHarness, pulumi_harness

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("infra-plans")]
FIXTURES = Path(__file__).parent / "fixtures"
VPC = "aws:ec2/vpc:Vpc"
NAME = "e2e"


@dataclass
class Repository:
    """A user's repository with two projects, of which the second reads the first."""

    cli: Cli
    pulumi: PulumiHarness

    @property
    def folder(self) -> Path:
        """Return where it is."""
        return self.cli.folder

    def sluice(self, *words: str) -> Result:
        """Call the command line in it, with the test's Pulumi."""
        ours = {k: v for k, v in self.pulumi.environment().items() if k.startswith(("PULUMI_", "GRPC_")) or k == "PATH"}
        with mock.patch.dict(os.environ, ours):
            return self.cli.run(*words, NO_COLOR="1", COLUMNS="120")

    def plan(self, *words: str) -> dict[str, Any]:
        """Return a plan with infrastructure."""
        found: dict[str, Any] = self.sluice("plan", NAME, "--infra", "--json", *words).json()
        return found

    def configure(self, project: str, **values: str) -> None:
        """Set a project's configuration; what Pulumi wrote there stays."""
        file = self.folder / "stacks" / project / f"Pulumi.{NAME}.yaml"
        known = yaml.safe_load(file.read_text()) if file.exists() else {}
        name = yaml.safe_load((file.parent / "Pulumi.yaml").read_text())["name"]
        known["config"] = (known.get("config") or {}) | {f"{name}:{key}": value for key, value in values.items()}
        file.write_text(yaml.safe_dump(known))

    def run(self, project: str, *words: str) -> Outcome:
        """Call Pulumi in a project's folder."""
        return self.pulumi.run(self.folder / "stacks" / project, *words).must_succeed()


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Return a repository whose stacks were made and never brought up."""
    with pulumi_harness(tmp_path / "pulumi") as harness, project() as cli:
        cli.declare("file:models/v1")
        made = Repository(cli, harness)
        for name, fixture in (("foundation", "network"), ("serving", "above")):
            ignored = shutil.ignore_patterns("__pycache__", "Pulumi.dev.yaml")
            shutil.copytree(FIXTURES / fixture, made.folder / "stacks" / name, ignore=ignored)
            made.run(name, "stack", "init", "--no-select", "--stack", NAME)
        made.configure("foundation", regions="eu-west-1", cidr="10.20.0.0/16")
        yield made


def operations(plan: dict[str, Any], project: str) -> dict[str, str]:
    """Return what becomes of each resource of a project."""
    (found,) = [p for p in plan["infrastructure"] if p["project"] == project]
    return {change["urn"].rpartition("::")[2]: change["op"] for change in found["changes"]}


def test_infrastructure_is_planned_applied_and_refused_when_reality_moved(repository: Repository) -> None:
    first = repository.plan()
    assert operations(first, "foundation") == {
        "eu-west-1": "create",
        "main-eu-west-1": "create",
        "first-eu-west-1": "create",
    }
    (above,) = [p for p in first["infrastructure"] if p["project"] == "serving"]
    assert above["unknown"], "it reads what the foundation has not exported yet"
    assert repository.plan()["digest"] == first["digest"], "the same world, byte for byte"
    assert repository.pulumi.aws.resources() == [], "a plan makes nothing"

    # What cannot be known yet is not brought up unseen: the foundation is, and then a person looks again.
    stopped = repository.sluice("apply", NAME, "--infra", "--yes")
    assert stopped.code == 1, stopped.err
    assert "INFRA-015" in stopped.err
    assert [vpc.region for vpc in repository.pulumi.aws.resources(VPC)] == ["eu-west-1"]

    second = repository.plan("-o", "plan.json")
    assert operations(second, "foundation") == {}
    assert operations(second, "serving") == {"default": "create", "eu-west-1": "create", "second": "create"}
    repository.configure("foundation", cidr="10.20.0.0/17")
    stale = repository.sluice("apply", "plan.json")
    assert stale.code == 6, stale.err
    assert "infrastructure" in stale.err
    repository.configure("foundation", cidr="10.20.0.0/16")

    done = repository.sluice("apply", "plan.json")
    assert done.code == 0, done.err
    assert repository.cli.serving(), "the release came after its infrastructure"
    assert len(repository.pulumi.aws.resources("aws:ec2/subnet:Subnet")) == 2
    assert repository.sluice("plan", NAME, "--infra", "--detailed-exitcode").code == 0

    repository.configure("foundation", name="renamed")
    changed = repository.sluice("plan", NAME, "--infra", "--detailed-exitcode")
    assert changed.code == 2
    assert "~ main-eu-west-1" in changed.out
    assert "tags" in changed.out
    assert "renamed" not in changed.out, "values may be secrets and are not shown"
    assert "| update | `main-eu-west-1` |" in repository.sluice("plan", NAME, "--infra", "--markdown").out


def test_a_policy_over_infrastructure_denies_the_whole_plan(repository: Repository) -> None:
    shutil.copytree(FIXTURES / "policy", repository.folder / "policies")
    repository.configure("foundation", cidr="192.168.0.0/16")
    plan = repository.plan()
    (denied,) = [f for f in plan["findings"] if f["level"] == "deny"]
    assert denied["policy"] == "no-home-range"
    assert denied["address"] == f"{NAME}/foundation/main-eu-west-1"
    assert "HOME-001" in denied["message"]
    assert repository.sluice("plan", NAME, "--infra").code == 3
    refused = repository.sluice("apply", NAME, "--infra", "--yes")
    assert refused.code == 3
    assert repository.pulumi.aws.resources() == []


def test_what_is_missing_is_said_with_what_to_do(repository: Repository, tmp_path: Path) -> None:
    (repository.folder / "stacks" / "foundation" / "__main__.py").write_text(
        "raise ValueError('a program that fails')\n"
    )
    failing = repository.sluice("plan", NAME, "--infra")
    assert failing.code == 1
    assert "INFRA-014" in failing.err
    assert "a program that fails" in failing.err
    repository.run("serving", "stack", "rm", "--yes", "--stack", NAME)
    shutil.rmtree(repository.folder / "stacks" / "foundation")
    unmade = repository.sluice("plan", NAME, "--infra")
    assert "INFRA-013" in unmade.err
    shutil.rmtree(repository.folder / "stacks")
    assert "INFRA-011" in repository.sluice("plan", NAME, "--infra").err


GROUP = """
import pulumi_aws as _aws
from pulumi import ResourceOptions as _Options

_aws.eks.NodeGroup(
    "gpu",
    cluster_name="main",
    node_role_arn="arn:aws:iam::123456789012:role/nodes",
    subnet_ids=["subnet-1"],
    instance_types=["g6.2xlarge"],
    scaling_config={"min_size": 0, "max_size": 4, "desired_size": 2},
    opts=_Options(provider=_aws.Provider("aws-us-east-1", region="us-east-1")),
)
"""


def test_a_plan_says_what_a_node_group_costs_a_month(repository: Repository) -> None:
    """The engine's own events tell kind, size and region; 0.9776 USD an hour twice, for 730 hours."""
    program = repository.folder / "stacks" / "foundation" / "__main__.py"
    program.write_text(program.read_text() + GROUP)
    (found,) = [p for p in repository.plan()["infrastructure"] if p["project"] == "foundation"]
    assert found["cost"] == ["adds 1,427 USD a month, at desired size"]
    program.write_text(program.read_text().replace("g6.2xlarge", "m9.nobody"))
    (found,) = [p for p in repository.plan()["infrastructure"] if p["project"] == "foundation"]
    assert found["cost"] == ["adds [?] (no row for ec2 m9.nobody in us-east-1), at desired size"]
