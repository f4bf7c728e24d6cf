"""The stack projects on the real engine: API servers for clusters, an AWS account, and environment files to edit."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.declared import declared
from tests.builds.catalog import ROOT
from tests.support.kubernetes.api import Cluster
from tests.support.kubernetes.control_plane import ControlPlane, control_plane
from tests.support.pulumi_engine.aws_cloud import Resource
from tests.support.pulumi_engine.aws_facts import ACCOUNT
from tests.support.pulumi_engine.aws_rules.images import SECRET
from tests.support.pulumi_engine.harness import Outcome, PulumiHarness, pulumi_harness

IMAGES, FOUNDATION, PLATFORM, SERVING = (ROOT / "stacks" / n for n in ("images", "foundation", "platform", "serving"))
# In the order of docs/adopt.md; each can finish before the next begins.
PROJECTS = (IMAGES, FOUNDATION, PLATFORM, SERVING)
POLICIES = ("--policy-pack", str(ROOT / "policies"))
CLUSTER_REGIONS = ("eu-central-1", "us-east-1")


@dataclass(frozen=True)
class Rig:
    """A harness, the clusters by region, and the folder whose environment files the stacks read."""

    harness: PulumiHarness
    planes: dict[str, ControlPlane]
    environments: Path

    def edit(self, environment: str, old: str, new: str) -> None:
        """Change a text in an environment file; it must be there exactly once."""
        file = self.environments / f"{environment}.yaml"
        text = file.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file.name}"
        file.write_text(text.replace(old, new))

    def people_make_secrets(self, environment: str) -> list[Resource]:
        """Do what docs/adopt.md has people do before the first stack: put sign-ins where ECR finds them."""
        spec = declared(environment, environ={}, start=self.environments)
        named = [(region, secret) for region in spec.clusters for secret in spec.upstreams.values() if secret]
        secrets = [_secret(region, name) for region, name in named]
        for secret in secrets:
            self.harness.aws.change(secret)
        return secrets

    def unchanged(self, project: Path, environment: str) -> Outcome:
        """Preview, and fail when anything would change."""
        return self.harness.preview(project, environment, "--expect-no-changes").must_succeed()


def _secret(region: str, name: str) -> Resource:
    arn = f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:{name}-AbCdEf"
    return Resource(SECRET, region, arn, f"by hand in {region}", {"name": name}, {"name": name, "arn": arn})


@contextlib.contextmanager
def rig(folder: Path, *, regions: tuple[str, ...] = CLUSTER_REGIONS) -> Iterator[Rig]:
    """Run a rig until the block ends. Environment files are copies, and `SLUICE_ENVIRONMENTS` names them."""
    environments = copied(folder / "root")
    before = os.environ.get("SLUICE_ENVIRONMENTS")
    with contextlib.ExitStack() as running:
        planes = {region: running.enter_context(control_plane(controllers=False)) for region in regions}
        clusters: dict[str, Cluster] = {region: plane.cluster for region, plane in planes.items()}
        harness = running.enter_context(pulumi_harness(folder / "pulumi", clusters))
        os.environ["SLUICE_ENVIRONMENTS"] = str(environments)
        try:
            yield Rig(harness, planes, environments)
        finally:
            os.environ.pop("SLUICE_ENVIRONMENTS")
            if before is not None:
                os.environ["SLUICE_ENVIRONMENTS"] = before


def copied(root: Path) -> Path:
    """Copy what environment files refer to into a folder of its own; return the copy of `environments/`."""
    shutil.copytree(ROOT / "environments", root / "environments", ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    shutil.copytree(ROOT / "loadtests" / "profiles", root / "loadtests" / "profiles")
    return root / "environments"
