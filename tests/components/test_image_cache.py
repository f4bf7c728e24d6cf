"""ECR's copies of charts' images: which rules and templates a region gets, in which order, and who may fill them."""

from __future__ import annotations

import re

import pytest

from components.image_cache import ImageCache, ImageCacheArgs
from environments.infrastructure import ImageCacheSpec
from environments.names import cache_prefix, cache_registry, image_repository
from environments.upstreams import UPSTREAMS, cached
from tests.components.mocked import ACCOUNT, OWNED, Recorded, make
from tests.components.test_everywhere import found, foundation
from tests.components.test_order import dependencies
from tests.components.test_order import foundation as what_waits

SIGN_INS = {"docker_hub": "ecr-pullthroughcache/docker-hub", "github": "ecr-pullthroughcache/github"}
# Source: ECR API reference, CreatePullThroughCacheRule, ecrRepositoryPrefix.
PREFIX = re.compile(r"(?=.{2,30}$)(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")


def program(secrets: dict[str, str]) -> None:
    ImageCache("cache", ImageCacheArgs("eu-central-1", ACCOUNT, cached(secrets), OWNED))


def cache(secrets: dict[str, str] = SIGN_INS) -> Recorded:
    return make(lambda: program(secrets))


def test_each_registry_has_a_rule_and_a_template_of_its_prefix() -> None:
    made = cache()
    rules = {m.inputs["upstreamRegistryUrl"]: m.inputs for m in made.of("PullThroughCacheRule")}
    assert rules.keys() == {"registry-1.docker.io", "ghcr.io", "public.ecr.aws", "quay.io", "registry.k8s.io"}
    prefixes = {inputs["ecrRepositoryPrefix"] for inputs in rules.values()}
    assert len(prefixes) == len(rules)
    assert {m.inputs["prefix"] for m in made.of("RepositoryCreationTemplate")} == prefixes


def test_only_registries_that_want_one_get_a_sign_in() -> None:
    rules = {m.inputs["upstreamRegistryUrl"]: m.inputs for m in cache().of("PullThroughCacheRule")}
    signed = {url: inputs["credentialArn"] for url, inputs in rules.items() if "credentialArn" in inputs}
    assert signed.keys() == {"registry-1.docker.io", "ghcr.io"}
    assert ":secret:ecr-pullthroughcache/docker-hub-" in signed["registry-1.docker.io"]
    assert ":secret:ecr-pullthroughcache/github-" in signed["ghcr.io"]


@pytest.mark.parametrize("missing", sorted(SIGN_INS))
def test_a_registry_whose_sign_in_is_not_named_has_no_rule(missing: str) -> None:
    made = cache({name: secret for name, secret in SIGN_INS.items() if name != missing})
    without = next(upstream for upstream in UPSTREAMS if upstream.secret == missing)
    urls = {m.inputs["upstreamRegistryUrl"] for m in made.of("PullThroughCacheRule")}
    assert urls == {upstream.url for upstream in UPSTREAMS} - {without.url}


def test_the_block_has_a_key_for_each_registry_that_wants_a_sign_in() -> None:
    assert set(ImageCacheSpec.model_fields) == {upstream.secret for upstream in UPSTREAMS if upstream.secret}


def test_copies_are_kept_as_our_own_images_are() -> None:
    for template in cache().of("RepositoryCreationTemplate"):
        assert template.inputs["appliedFors"] == ["PULL_THROUGH_CACHE"]
        assert template.inputs["imageTagMutability"] == "IMMUTABLE"
        assert template.at("encryptionConfigurations.0.encryptionType") == "KMS"
        assert '"imageCountMoreThan"' in template.inputs["lifecyclePolicy"]
        assert template.inputs["resourceTags"]["environment"] == "prod"
        # With KMS or tags ECR's own role does not do. Source: provider's documentation of `custom_role_arn`.
        assert template.inputs["customRoleArn"].endswith(":cache")


def test_no_image_is_copied_before_its_place_is_described() -> None:
    told = dependencies(lambda: program(SIGN_INS))
    rules = {name: urns for name, urns in told.items() if "PullThroughCacheRule" in name}
    assert len(rules) == len(UPSTREAMS)
    assert all(any("RepositoryCreationTemplate" in urn for urn in urns) for urns in rules.values())
    templates = [urns for name, urns in told.items() if "RepositoryCreationTemplate" in name]
    assert all(any("RolePolicy" in urn for urn in urns) for urns in templates)


@pytest.mark.parametrize("environment", ["dev", "prod", "a-rather-long-name-of-an-environment"])
def test_a_prefix_is_short_enough_and_nobody_elses(environment: str) -> None:
    prefixes = [cache_prefix(environment, upstream.name) for upstream in UPSTREAMS]
    assert all(PREFIX.fullmatch(prefix) for prefix in prefixes), prefixes
    assert len(set(prefixes)) == len(UPSTREAMS)
    # Whatever begins with this is copied to every region of the environment.
    assert not [prefix for prefix in prefixes if prefix.startswith(image_repository(environment, ""))]
    assert cache_prefix("a-rather-long-name-of-an-endeavour", "quay") not in prefixes


def test_a_copy_stands_in_the_registry_of_its_own_region() -> None:
    place = cache_registry("prod", "us-east-1", ACCOUNT, "quay")
    assert place == f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/cache-prod/quay"


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_nodes_may_fill_the_cache_where_there_is_one(environment: str) -> None:
    spec = found(environment)
    rights = [m for m in foundation(environment).of("RolePolicy") if m.name.endswith("-node-cache")]
    assert len(rights) == (len(spec.clusters) if spec.infrastructure.image_cache else 0)
    assert bool(rights) == (environment != "dev")
    for made in rights:
        assert all(f"repository/{prefix}/*" in made.inputs["policy"] for prefix in spec.cache_prefixes)


def test_no_node_starts_before_it_may_fill_the_cache() -> None:
    groups = [urns for name, urns in what_waits().items() if "nodeGroup:NodeGroup" in name]
    assert groups
    assert all(any(urn.endswith("-node-cache") for urn in urns) for urns in groups)
