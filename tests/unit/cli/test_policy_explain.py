"""`sluice policy explain`: an environment's own policies are told like those that are shipped."""

from __future__ import annotations

import json

import pytest

from tests.support.reviewed import Project

OWN = {
    "payments/long-bake": {
        "level": "deny",
        "reason": "their errors show in the hourly settlement",
        "match": {"teams": ["payments"]},
        "validations": [{"expression": "endpoint.rollout.bake_s >= 3600", "message": "bake for an hour"}],
    },
    "REL-003": "warn",
}


@pytest.fixture
def asked(project: Project) -> Project:
    project.declare(policies=OWN)
    return project


def test_a_policy_of_the_file_says_why_and_shows_its_rule(asked: Project) -> None:
    told = asked.call("policy", "explain", "payments/long-bake", "dev")
    for part in ("bake for an hour", "hourly settlement", "level in dev: deny", "endpoint.rollout.bake_s >= 3600"):
        assert part in told
    data = json.loads(asked.call("policy", "explain", "payments/long-bake", "dev", "--json"))
    assert data["level"] == "deny"
    assert data["declared"]["match"] == {"teams": ["payments"]}


def test_a_shipped_policy_has_the_level_of_the_file(asked: Project) -> None:
    assert "level in dev: warn" in asked.call("policy", "explain", "rel-003", "dev")
    assert "levels:" in asked.call("policy", "explain", "REL-003")


def test_what_is_missing_is_said(asked: Project) -> None:
    assert "ENV" in asked.refused("policy", "explain", "payments/long-bake")["do"]
    assert "payments/long-bake" in asked.refused("policy", "explain", "payments/long-bak", "dev")["do"]
