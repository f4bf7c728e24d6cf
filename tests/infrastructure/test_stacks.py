"""All stacks on the real Pulumi engine: made, made again without a change, changed a little, and taken down.

Kubernetes objects go to real API servers, one for each region with a cluster; AWS ones to an account that checks types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infrastructure.stack_rig import FOUNDATION, IMAGES, PLATFORM, POLICIES, PROJECTS, SERVING, Rig, rig
from tests.support.pulumi_engine.harness import Outcome

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(2400)]

ENVIRONMENTS = ("dev", "staging", "prod")
PROTECTED = "deletion_protection: true"
_CHANGED = re.compile(
    r"^ *(?:~|\+|-|\+-|-\+|\+\+|--) +(\S+) (\S+) (?:update|updated|create|created|replace|delete)", re.M
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Return a rig that all tests of this file share."""
    with rig(tmp_path_factory.mktemp("stacks")) as found:
        yield found


def changed(outcome: Outcome) -> set[str]:
    """Return the types of the resources that a command changed, the stack itself aside."""
    return {kind.rpartition(":")[2] for kind, _ in _CHANGED.findall(outcome.stdout)} - {"Stack"}


@pytest.mark.parametrize("project", PROJECTS, ids=lambda p: p.name)
@pytest.mark.parametrize(("stack", "code"), [("prdo", "SPEC-001"), ("local", "INFRA-001")])
def test_a_stack_that_means_nothing_is_refused_before_anything_is_made(
    running: Rig, project: Path, stack: str, code: str
) -> None:
    running.harness.aws.forget_calls()
    refused = running.harness.up(project, stack).must_fail(code)
    assert "Traceback" not in refused.text
    assert not running.harness.aws.calls()


def test_a_region_without_the_pool_that_an_endpoint_names_is_refused(running: Rig) -> None:
    running.harness.aws.forget_calls()
    running.edit(
        "staging", "    pool: l4\n    replicas: {min: 1, max: 3}", "    pool: h100\n    replicas: {min: 1, max: 3}"
    )
    refused = running.harness.up(FOUNDATION, "staging").must_fail("SPEC-021", "h100", "eu-central-1")
    running.edit("staging", "    pool: h100\n", "    pool: l4\n")
    assert "Traceback" not in refused.text
    assert not running.harness.aws.calls()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_lives_from_preview_to_destroy(running: Rig, environment: str) -> None:
    """Make stack after stack on an empty account with an empty cluster: each finishes before the next one begins."""
    running.harness.checkpoints = False
    pulumi, by_hand = running.harness, running.people_make_secrets(environment)
    for project in PROJECTS:
        pulumi.preview(project, environment, *POLICIES).must_succeed()
        if (environment, project) == ("staging", FOUNDATION):
            pulumi.preview(PLATFORM, environment).must_fail("INFRA-005", "stacks/foundation")
        if (environment, project) == ("dev", FOUNDATION):
            die_and_be_repaired(running)
        pulumi.up(project, environment).must_succeed()
        running.unchanged(project, environment)
        everything_belongs_to_a_component(running, project, environment)
    a_little_change_touches_little(running, environment)
    taken_down(running, environment)
    assert [found.id for found in pulumi.aws.resources()] == sorted(secret.id for secret in by_hand)
    for secret in by_hand:
        pulumi.aws.remove(secret)


def everything_belongs_to_a_component(running: Rig, project: Path, environment: str) -> None:
    """Read the state: whatever is in a cloud has a component of ours as its parent."""
    in_a_cloud = [
        found
        for found in running.harness.resources(project, environment)
        if found["type"].startswith(("aws:", "kubernetes:"))
    ]
    assert in_a_cloud
    assert [found["urn"] for found in in_a_cloud if "sluice:" not in found["parent"].split("::")[2]] == []


def die_and_be_repaired(running: Rig) -> None:
    """Let the provider die in the middle of `up`: the next `up` makes the rest and leaves nothing twice.

    The engine writes checkpoints meanwhile, as a person's does; without them it remembers nothing of what it made.
    """
    running.harness.checkpoints = True
    before = len(running.harness.aws.resources())
    running.harness.aws.die_after(20)
    assert running.harness.up(FOUNDATION, "dev").code != 0
    made = len(running.harness.aws.resources())
    assert before < made <= before + 20
    running.harness.up(FOUNDATION, "dev").must_succeed()
    names = [(r.token, r.urn) for r in running.harness.aws.resources()]
    assert len(names) > made
    assert len(set(names)) == len(names)
    running.harness.checkpoints = False


def a_little_change_touches_little(running: Rig, environment: str) -> None:
    """Raise a team's rate: its policy changes, and the controllers read the new file; the platform stays as it is."""
    file = running.environments / f"{environment}.yaml"
    text = file.read_text()
    file.write_text(re.sub(r"(support: \{.*requests_per_minute: )\d+", r"\g<1>601", text))
    assert file.read_text() != text
    assert changed(running.harness.up(SERVING, environment).must_succeed()) == {
        "BackendTrafficPolicy",
        "ConfigMap",
        "Deployment",
    }
    running.unchanged(PLATFORM, environment)
    file.write_text(text)


def taken_down(running: Rig, environment: str) -> None:
    """Destroy the stacks, last first; state that is protected goes only after the environment file says that it may."""
    pulumi = running.harness
    for project in (SERVING, PLATFORM):
        pulumi.destroy(project, environment).must_succeed()
    if PROTECTED in (running.environments / f"{environment}.yaml").read_text():
        pulumi.destroy(FOUNDATION, environment).must_fail("protect")
        running.edit(environment, PROTECTED, "deletion_protection: false")
        for project in (IMAGES, FOUNDATION):
            pulumi.up(project, environment).must_succeed()
    for project in (FOUNDATION, IMAGES):
        pulumi.destroy(project, environment).must_succeed()
