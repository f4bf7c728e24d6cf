"""A plan that moves prompts says how long that takes to reach applications, where it is not at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from environments.names import Address
from environments.spec import EnvironmentSpec
from reconciler.core.model.release import Release
from reconciler.core.plan.change import Action, Change, MovesBy
from reconciler.planning.foreseen import spreading
from reconciler.pointers.select import pointers_for
from reconciler.ports.adapters import RegionReader
from tests.support.builders.releases import release
from tests.support.fakes.platform import FakePlatform

ADDRESS = Address("prod", "eu", "chat")


def declared(**region: object) -> EnvironmentSpec:
    """Return an environment of one endpoint in one region."""
    endpoint = {"team": "support", "runtime": "vllm", "release": {"model": "mlflow:one/1"}}
    return EnvironmentSpec.model_validate(
        {
            "environment": "prod",
            "owner": "tests",
            "store": "sqlite:///.sluice/prod.db",
            "registry": {"mlflow": "http://127.0.0.1:9"},
            "teams": {"support": {}},
            "regions": {"eu": region},
            "endpoints": {"chat": endpoint},
        }
    )


def told(moved: Release, **region: object) -> list[str]:
    """Return what a plan says of flags when a release moves in such a region."""
    spec = declared(**region)
    pointers = pointers_for(spec, "eu", spec.regions["eu"], home=Path("home"))
    readers = {"eu": RegionReader("eu", FakePlatform("prod", "eu"), pointers)}
    found = spreading(readers, [(Change(ADDRESS, Action.ROLLOUT, (), MovesBy.POINTER), moved)])
    assert all((each.policy, each.level, each.address) == ("PTR-004", "info", str(ADDRESS)) for each in found)
    return [each.message for each in found]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({}, "ConfigMap support-prod/sluice-flags-prod: a pod that mounts it has a change"),
        ({"flags": "feature_flag"}, "FeatureFlag support-prod/sluice-flags-prod: flagd watches it"),
    ],
)
def test_prompts_in_a_cluster_take_their_time(flags: dict[str, str], words: str) -> None:
    (message,) = told(release("new", prompt="p2"), platform="kubernetes", context="test", **flags)
    assert words in message


def test_a_release_without_prompts_publishes_nothing() -> None:
    assert told(release("new"), platform="kubernetes", context="test") == []


def test_prompts_in_a_file_are_there_at_once() -> None:
    local = {"platform": "local", "gateway_port": 18000, "serve_command": ["serve"]}
    assert told(release("new", prompt="p2"), **local) == []
