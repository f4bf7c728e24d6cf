"""With a cache every image comes through ECR, or stands in a short list with its reason; without, as before."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from components.addons import VALUES, told
from components.chart_images import IMAGES, PROXY, copy_of
from components.charts import CHARTS
from environments.upstreams import UPSTREAMS
from tests.builds.catalog import ROOT
from tests.charts import pinned, render, samples, source
from tests.components.conftest import main_loop as main_loop
from tests.components.mocked import ACCOUNT
from tests.components.test_everywhere import ENVIRONMENTS, found, platform, serving
from tests.infrastructure.stack_rig import IMAGES as IMAGES_STACK
from tests.infrastructure.stack_rig import rig
from tests.support.kubernetes.api import Body
from tests.support.pulumi_engine.aws_rules.images import CACHE_RULE

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("charts")]

NAMES = tuple(chart.name for chart in CHARTS)
ADOPT = ROOT / "docs" / "adopt.md"
each = pytest.mark.parametrize("name", NAMES)
CACHE = f"{ACCOUNT}.dkr.ecr.{samples.FULL.region}.amazonaws.com/cache-{samples.FULL.environment}/"
# Registries that stay, and why.
PAST_THE_CACHE: Mapping[str, str] = {
    "nvcr.io": "ECR has no rule for NVIDIA's registry",
    "602401143452.dkr.ecr.us-west-2.amazonaws.com": "is ECR already, of the account in which EKS publishes",
}
Pair = tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """Return what each chart names, from its makers and through the cache; our EnvoyProxy stands beside its chart."""
    folder, pairs = tmp_path_factory.mktemp("charts"), {}
    for name in NAMES:
        if name in pinned.NAMES:
            pairs[name] = (pinned.facts(name)["named"], pinned.facts(name)["copied"])
        else:
            both = [render.named(objects(folder, name, facts)) for facts in (samples.FULL, samples.COPIED)]
            pairs[name] = (both[0], both[1])
    return pairs


def objects(folder: Path, name: str, facts: object) -> list[Body]:
    """Return the objects of a chart that is rendered here."""
    namespace = next(chart.namespace for chart in CHARTS if chart.name == name)
    return render.rendered(source.prepared(name, folder), name, namespace, samples.values(name, facts))  # type: ignore[arg-type]


def host(image: str) -> str:
    """Return the registry of an image."""
    return image.partition("/")[0]


@each
def test_every_image_comes_through_the_cache_or_is_in_the_list(name: str, images: dict[str, Pair]) -> None:
    past = [image for image in images[name][1] if not image.startswith(CACHE)]
    assert {host(image) for image in past} <= PAST_THE_CACHE.keys(), past


@each
def test_a_copy_has_the_name_tag_and_digest_of_its_original(name: str, images: dict[str, Pair]) -> None:
    originals, copies = images[name]
    expected = {copy_of(image, samples.REGISTRIES) or image for image in originals}
    assert set(copies) == expected
    assert bool(originals) == (name != "karpenter-crd")


def test_no_registry_is_copied_from_or_let_past_that_no_image_needs(images: dict[str, Pair]) -> None:
    named = {image for originals, _ in images.values() for image in originals} | {PROXY}
    assert {host(image) for image in named} == {u.host for u in UPSTREAMS} | PAST_THE_CACHE.keys()


def test_people_read_which_registries_are_left() -> None:
    """Hold docs/adopt.md to the list, both ways."""
    line = next(line for line in ADOPT.read_text().splitlines() if line.startswith("With `image_cache`"))
    assert set(re.findall(r"`([a-z0-9-]+\.[a-z0-9.-]+)`", line)) == PAST_THE_CACHE.keys()


def test_every_chart_with_images_says_where_its_values_name_them(images: dict[str, Pair]) -> None:
    need = {name for name, (originals, _) in images.items() if any(copy_of(i, samples.REGISTRIES) for i in originals)}
    assert IMAGES.keys() == need


@each
def test_without_a_cache_a_chart_is_told_what_it_was(name: str) -> None:
    for facts in samples.SAMPLES:
        assert told(name, facts) == VALUES[name](facts)


@each
def test_a_registry_without_a_sign_in_stays_and_the_others_do_not(name: str, images: dict[str, Pair]) -> None:
    some = {at: place for at, place in samples.REGISTRIES.items() if at not in ("docker.io", "ghcr.io")}
    facts = dataclasses.replace(samples.COPIED, registries=some)
    texts = yaml.safe_dump(samples.values(name, facts)).split()
    assert not [text for text in texts if "/docker-hub" in text or "/github" in text]
    wanted = {u.name for u in UPSTREAMS if any(host(image) == u.host for image in images[name][0]) and u.host in some}
    assert {u.name for u in UPSTREAMS for text in texts if f"{CACHE}{u.name}" in text} == wanted


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_clusters_are_told_of_the_cache_of_their_own_region(environment: str) -> None:
    spec = found(environment)
    for made in platform(environment).of("Release"):
        region = next(region for region in spec.clusters if f"-{region}-" in made.name)
        name = str(made.inputs["name"])
        expected = through(IMAGES.get(name, {}), spec.registries(region, ACCOUNT))
        assert {path: value_at(made.inputs.get("values"), path) for path in expected} == expected
        assert ".dkr.ecr." not in str(made.inputs.get("values")) or expected
    proxies = serving(environment).of("EnvoyProxy")
    assert len(proxies) == len(spec.clusters)
    for made in proxies:
        region = next(region for region in spec.clusters if f"-{region}-" in made.name)
        image = made.at("spec.provider.kubernetes.envoyDeployment.container.imageRepository")
        assert image == copy_of(PROXY, spec.registries(region, ACCOUNT))


def through(named: Mapping[str, str], registries: Mapping[str, str]) -> dict[str, str]:
    """Return the values that name copies."""
    return {path: copy for path, image in named.items() if (copy := copy_of(image, registries))}


def value_at(values: object, path: str) -> object:
    """Return a value by its path."""
    for part in path.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def test_the_first_stack_makes_a_cache_in_each_region_with_a_cluster(tmp_path: Path) -> None:
    """Make it on the real engine: without the sign-ins nothing of it is made, with them each region has its own."""
    with rig(tmp_path, regions=()) as running:
        running.harness.checkpoints = False
        refused = running.harness.up(IMAGES_STACK, "prod").must_fail("INFRA-010", "ecr-pullthroughcache/docker-hub")
        assert "Traceback" not in refused.text
        running.people_make_secrets("prod")
        running.harness.up(IMAGES_STACK, "prod").must_succeed()
        running.unchanged(IMAGES_STACK, "prod")
        rules = [(made.region, made.id) for made in running.harness.aws.resources(CACHE_RULE)]
        prefixes = found("prod").cache_prefixes
        assert rules == [(region, prefix) for region in ("eu-central-1", "us-east-1") for prefix in sorted(prefixes)]
        running.edit("prod", "  image_cache:  ", "  # image_cache:  ")
        running.edit("prod", "    docker_hub: ", "    # docker_hub: ")
        running.edit("prod", "    github: ", "    # github: ")
        running.harness.up(IMAGES_STACK, "prod").must_succeed()
        assert running.harness.aws.resources(CACHE_RULE) == []
