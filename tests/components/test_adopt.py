"""docs/adopt.md and docs/upgrade.md: their commands run in order in one shell, and each program knows its words."""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from components.charts import CHARTS
from components.team_secrets import API_KEYS, GATED_MODELS, GRAFANA, SINGLE_SIGN_ON
from environments.names import cluster_name, image_repository, secret_name
from tests.builds.catalog import ROOT
from tests.components.test_everywhere import everything
from tests.infrastructure.stack_rig import FOUNDATION, IMAGES, PLATFORM, PROJECTS, SERVING
from tests.support import documented
from tests.support.commands import aws_says, pulumi_says, sluice_says

ADOPT, UPGRADE = ROOT / "docs" / "adopt.md", ROOT / "docs" / "upgrade.md"
PAGES = pytest.mark.parametrize("page", [ADOPT, UPGRADE], ids=lambda page: page.stem)
HOME = "eu-central-1"
# What the programs would answer where the next line reads it.
CANNED = {
    "aws sts get-caller-identity": "123456789012",
    "aws kms create-key": "0123abcd-key",
    "aws ecr describe-images": "sha256:" + "0" * 64,
    "pulumi stack output -s dev --json regions": json.dumps({HOME: {"bucket": "models"}}),
    "pulumi stack output -s dev store_url": "postgresql://store",
}


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[documented.Told]:
    """Return what programs are told by somebody who follows adopt.md line by line."""
    return documented.run(ADOPT, tmp_path_factory.mktemp("adopt"), CANNED)


def of(program: str, calls: list[documented.Told]) -> list[tuple[str, ...]]:
    found = [call.words[1:] for call in calls if call.words[0] == program]
    assert found, f"adopt.md calls {program} nowhere"
    return found


@cache
def spoken(page: Path, program: str) -> list[list[str]]:
    """Return the commands of a program that stand inside a page's sentences, without what is meant to be filled in."""
    return [shlex.split(text)[1:] for text in documented.spans(page, program)]


def test_aws_knows_every_command(calls: list[documented.Told]) -> None:
    assert [f"{words}: {wrong}" for words in of("aws", calls) for wrong in aws_says(words)] == []


@PAGES
def test_aws_knows_the_commands_inside_sentences(page: Path) -> None:
    assert [f"{words}: {wrong}" for words in spoken(page, "aws") for wrong in aws_says(words, whole=False)] == []


def test_sluice_knows_every_command(calls: list[documented.Told]) -> None:
    assert [f"{words}: {wrong}" for words in of("sluice", calls) for wrong in sluice_says(words)] == []


@PAGES
def test_sluice_knows_the_commands_inside_sentences(page: Path) -> None:
    assert spoken(page, "sluice")
    assert [f"{words}: {wrong}" for words in spoken(page, "sluice") for wrong in sluice_says(words)] == []


@pytest.mark.engine
def test_pulumi_knows_every_command(calls: list[documented.Told]) -> None:
    everywhere = [*of("pulumi", calls), *spoken(ADOPT, "pulumi"), *spoken(UPGRADE, "pulumi")]
    assert [f"{words}: {wrong}" for words in everywhere for wrong in pulumi_says(words)] == []


def test_the_stacks_go_up_in_the_order_in_which_tests_make_them(calls: list[documented.Told]) -> None:
    """Hold the page to what `tests/infrastructure/test_stacks.py` does on the real engine, command by command."""
    run = [(Path(c.folder), c.words[1]) for c in calls if c.words[0] == "pulumi" and c.words[1] in ("preview", "up")]
    assert run == [(IMAGES, "up"), (FOUNDATION, "preview"), (FOUNDATION, "up"), (PLATFORM, "up"), (SERVING, "up")]
    made = {Path(call.folder) for call in calls if call.words[:3] == ("pulumi", "stack", "init")}
    assert made == set(PROJECTS)
    packs = [c for c in calls if c.words[0] == "pulumi" and "--policy-pack" in c.words]
    assert {(Path(c.folder) / c.words[c.words.index("--policy-pack") + 1]).resolve() for c in packs} == {
        ROOT / "policies"
    }


def test_the_one_region_that_refuses_a_constraint_gets_none(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(ADOPT.read_text().replace(HOME, "us-east-1"))
    canned = CANNED | {"pulumi stack output -s dev --json regions": '{"us-east-1": {"bucket": "models"}}'}
    (made,) = [call for call in documented.run(page, tmp_path / "run", canned) if "create-bucket" in call.words]
    assert "LocationConstraint" not in str(made)


def test_images_are_pushed_where_the_images_stack_makes_room(calls: list[documented.Told]) -> None:
    pushed = {words[-1] for words in of("docker", calls) if words[0] == "push"}
    host = f"123456789012.dkr.ecr.{HOME}.amazonaws.com"
    ours = re.findall(r'"(\w+)"', re.search(r"^OURS = .*$", (IMAGES / "program.py").read_text(), re.M)[0])  # type: ignore[index]
    assert pushed == {f"{host}/{image_repository('dev', image)}:1" for image in ours}
    for words in (words for words in of("docker", calls) if words[0] == "build"):
        recipe = ROOT / (words[words.index("-f") + 1] if "-f" in words else f"{words[-1]}/Dockerfile")
        assert recipe.exists()


def test_names_are_those_that_the_stacks_give(calls: list[documented.Told]) -> None:
    filled = {words[words.index("--secret-id") + 1] for words in of("aws", calls) if "--secret-id" in words}
    wanted = {(API_KEYS, "support"), (SINGLE_SIGN_ON,), (GATED_MODELS,)}
    assert filled == {secret_name("dev", *parts) for parts in wanted}
    assert secret_name("ENV", GRAFANA) in UPGRADE.read_text()
    (kubeconfig,) = [words for words in of("aws", calls) if words[:2] == ("eks", "update-kubeconfig")]
    assert kubeconfig[kubeconfig.index("--name") + 1] == cluster_name("dev", HOME)
    services = {
        (m.at("metadata.namespace"), m.at("metadata.name")) for m in everything("dev") if m.type.endswith(":Service")
    }
    assert ("mlflow", "mlflow") in services


def test_every_chart_that_the_order_of_upgrades_names_is_there() -> None:
    """Upgrade.md's order names charts in words; each of ours that others need must be in it."""
    order = next(line for line in UPGRADE.read_text().splitlines() if line.startswith("Order when several move"))
    words = {"karpenter-crd": "Karpenter CRDs", "monitoring": "Prometheus", "envoy-gateway": "Envoy Gateway"}
    needed = {need for chart in CHARTS for need in chart.needs}
    assert [
        name for name in sorted(needed) if words.get(name, name.replace("-", " ")).lower() not in order.lower()
    ] == []


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (aws_says, ("s3api", "create-buckets", "--bucket", "b")),
        (aws_says, ("s3api", "create-bucket", "--buckets", "b")),
        (aws_says, ("secretsmanager", "put-secret-value", "--secret-string", "s")),
        (aws_says, ("s3api", "put-bucket-versioning", "--bucket", "b", "--versioning-configuration", "State=Enabled")),
        (sluice_says, ("aply", "dev")),
        (sluice_says, ("apply", "dev", "--detached")),
        (pulumi_says, ("preview", "--policy-packs", "x")),
        (pulumi_says, ("prevue",)),
    ],
)  # fmt: skip
def test_a_wrong_word_is_found(says: object, words: tuple[str, ...]) -> None:
    """Prove that the judges can say no."""
    assert callable(says)
    assert says(words) != []


def test_a_line_that_bash_cannot_run_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\necho $NOBODY_SETS_THIS\n```\n")
    with pytest.raises(AssertionError, match="NOBODY_SETS_THIS"):
        documented.run(page, tmp_path / "run", {})
