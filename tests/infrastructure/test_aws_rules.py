"""The AWS double refuses what AWS refuses: every rule on a request that breaks it, and on one that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.pulumi_engine.aws_cloud import AwsCloud, Resource
from tests.support.pulumi_engine.aws_rules import RULES, Asked, Rule

TABLE: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "aws_refusals.yaml").read_text())
REGION = "eu-central-1"
# Types are written by their last word; these two have a namesake.
NAMED = {"Instance": "aws:rds/instance:Instance", "Cluster": "aws:eks/cluster:Cluster"}
LONG = "x" * 10300


def token(word: str) -> str:
    """Return the type that a word stands for: the one that a rule is about, or reads."""
    found = NAMED.get(word) or next((rule.token for rule in RULES if rule.token.endswith(f":{word}")), None)
    return (
        found
        or {
            "Eip": "aws:ec2/eip:Eip",
            "Addon": "aws:eks/addon:Addon",
            "LaunchTemplate": "aws:ec2/launchTemplate:LaunchTemplate",
            "BucketVersioning": "aws:s3/bucketVersioning:BucketVersioning",
        }[word]
    )


def account(folder: Path, row: dict[str, Any]) -> AwsCloud:
    """Return an account with what a row says is there."""
    cloud = AwsCloud(folder / "aws.db")
    for word, inputs, identity in row.get("there", []):
        told = {key: LONG if value == "LONG" else value for key, value in inputs.items()}
        where = "" if token(word).startswith("aws:iam/") else REGION
        cloud.change(Resource(token(word), where, identity, identity, told, {**told, "arn": f"arn:{identity}"}))
    for name in row.get("used", []):
        cloud.use(name)
    return cloud


def said(rule: Rule, cloud: AwsCloud, inputs: dict[str, Any]) -> str | None:
    """Return what a rule says of a request."""
    identity = "me" if rule.when == "delete" else ""
    return rule.check(Asked(rule.token, inputs, REGION, cloud, identity))


def test_every_rule_is_tried_and_says_where_aws_says_so() -> None:
    assert sorted(TABLE) == sorted(rule.name for rule in RULES)
    assert len(RULES) >= 40
    assert all(len(rule.source) > 15 for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_it_refuses_and_it_lets_through(rule: Rule, tmp_path: Path) -> None:
    row = TABLE[rule.name]
    assert row["says"] in (said(rule, account(tmp_path, row), row["asks"]) or "taken")
    if "takes" in row:
        assert said(rule, account(tmp_path, row | {"there": []} if "there" not in row else row), row["takes"]) is None
    empty = AwsCloud(tmp_path / "empty.db")
    if "takes" not in row:
        assert rule.name == "key_principal_absent" or said(rule, empty, row["asks"]) is None
