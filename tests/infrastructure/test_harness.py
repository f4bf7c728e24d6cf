"""The harness itself: a stack's whole life, refusals by policy and provider, a fault that the next `up` repairs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests.builds.catalog import ROOT
from tests.support.pulumi_engine.harness import PulumiHarness

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]

FIXTURES = Path(__file__).parent / "fixtures"
VPC = "aws:ec2/vpc:Vpc"
SUBNET = "aws:ec2/subnet:Subnet"


def stack_of(name: str, folder: Path, **config: str) -> Path:
    """Copy a fixture's project, so that a test can change its configuration; return its folder."""
    project = folder / name
    shutil.copytree(FIXTURES / name, project, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    configure(project, **config)
    return project


def configure(project: Path, **config: str) -> None:
    """Set values in the configuration of the stack `dev`."""
    file = project / "Pulumi.dev.yaml"
    values = yaml.safe_load(file.read_text())["config"] if file.exists() else {}
    values |= {f"{project.name}:{key}": value for key, value in config.items()}
    file.write_text(yaml.safe_dump({"config": values}))


def test_a_stack_lives_from_preview_to_destroy(pulumi: PulumiHarness, tmp_path: Path) -> None:
    project = stack_of("network", tmp_path, regions="eu-west-1,us-east-1")
    committed = (project / "Pulumi.dev.yaml").read_text()

    pulumi.preview(project, "dev").must_succeed()
    assert pulumi.aws.resources() == []

    pulumi.up(project, "dev").must_succeed()
    assert [vpc.region for vpc in pulumi.aws.resources(VPC)] == ["eu-west-1", "us-east-1"]
    exported = pulumi.outputs(project, "dev")["us-east-1"]
    assert exported["arn"].startswith("arn:aws:ec2:us-east-1:")
    assert exported["tags"] == {"Name": "main", "team": "platform"}
    assert {r["id"] for r in pulumi.resources(project, "dev") if r["type"] == VPC} == {
        vpc.id for vpc in pulumi.aws.resources(VPC)
    }

    pulumi.preview(project, "dev", "--expect-no-changes").must_succeed()
    configure(project, name="renamed")
    pulumi.preview(project, "dev", "--expect-no-changes").must_fail()
    pulumi.aws.forget_calls()
    pulumi.up(project, "dev").must_succeed()
    assert {(call.verb, call.token) for call in pulumi.aws.calls()} == {("update", VPC)}

    pulumi.destroy(project, "dev").must_succeed()
    assert pulumi.aws.resources() == []
    configure(project, name="main")
    assert "encryptionsalt" not in (project / "Pulumi.dev.yaml").read_text()
    assert "encryptionsalt" not in committed


def test_an_immutable_input_makes_a_new_resource(pulumi: PulumiHarness, tmp_path: Path) -> None:
    project = stack_of("network", tmp_path)
    pulumi.up(project, "dev").must_succeed()
    [before] = pulumi.aws.resources(VPC)

    configure(project, cidr="10.20.0.0/17")
    pulumi.preview(project, "dev").must_succeed()
    pulumi.up(project, "dev").must_succeed()

    [after] = pulumi.aws.resources(VPC)
    assert after.id != before.id
    assert pulumi.aws.resources(SUBNET)[0].inputs["vpcId"] == after.id
    pulumi.destroy(project, "dev").must_succeed()


def test_a_policy_pack_refuses(pulumi: PulumiHarness, tmp_path: Path) -> None:
    project = stack_of("network", tmp_path, cidr="192.168.0.0/16")
    pack = ("--policy-pack", str(FIXTURES / "policy"))

    pulumi.preview(project, "dev", *pack).must_fail("HOME-001: a VPC must not use 192.168.0.0/16")
    pulumi.up(project, "dev", *pack).must_fail("HOME-001")
    assert pulumi.aws.resources() == []

    configure(project, cidr="10.20.0.0/16")
    pulumi.preview(project, "dev", *pack).must_succeed()


def test_the_next_up_repairs_what_a_dying_provider_left(pulumi: PulumiHarness, tmp_path: Path) -> None:
    project = stack_of("network", tmp_path)

    pulumi.aws.die_after(creates=1)
    pulumi.up(project, "dev").must_fail()
    [vpc] = pulumi.aws.resources(VPC)
    assert pulumi.aws.resources(SUBNET) == []

    pulumi.up(project, "dev").must_succeed()
    assert pulumi.aws.resources(VPC) == [vpc]
    assert [subnet.inputs["vpcId"] for subnet in pulumi.aws.resources(SUBNET)] == [vpc.id]
    pulumi.preview(project, "dev", "--expect-no-changes").must_succeed()
    pulumi.destroy(project, "dev").must_succeed()


def test_a_refresh_finds_what_someone_deleted(pulumi: PulumiHarness, tmp_path: Path) -> None:
    project = stack_of("network", tmp_path)
    pulumi.up(project, "dev").must_succeed()
    [subnet] = pulumi.aws.resources(SUBNET)
    pulumi.aws.remove(subnet)

    pulumi.refresh(project, "dev").must_succeed()
    pulumi.up(project, "dev").must_succeed()

    [again] = pulumi.aws.resources(SUBNET)
    assert again.id != subnet.id
    pulumi.destroy(project, "dev").must_succeed()


def test_the_aws_provider_says_what_is_wrong_with_inputs(pulumi: PulumiHarness, tmp_path: Path) -> None:
    project = stack_of("wrong", tmp_path)
    pulumi.preview(project, "dev").must_fail(
        "aws:eks/cluster:Cluster resource 'nested'",
        'missing required input "subnetIds"',
        'unknown input "subnets" (nearest: "subnetIds"',
    )
    assert pulumi.aws.resources() == []


def test_nothing_outlives_a_test_that_is_killed_in_a_command(pulumi: PulumiHarness, tmp_path: Path) -> None:
    project = tmp_path / "endless"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: endless\nruntime: python\n")
    (project / "__main__.py").write_text("import pathlib, signal\npathlib.Path('begun').touch()\nsignal.pause()\n")
    program = (
        "import pathlib\n"
        "from tests.support.pulumi_engine.harness import pulumi_harness\n"
        f"with pulumi_harness(pathlib.Path({str(tmp_path / 'home')!r})) as harness:\n"
        f"    harness.preview(pathlib.Path({str(project)!r}), 'dev')\n"
    )
    test = psutil.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (project / "begun").exists():
        assert test.poll() is None, "the test's process ended before its stack's program began"
        assert time.monotonic() < deadline, "the stack's program never began"
        time.sleep(0.05)
    started = test.children(recursive=True)
    assert len(started) >= 5  # two providers, the engine, its language host, the program

    test.kill()
    test.wait()

    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []
