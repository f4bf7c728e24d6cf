"""Who may do what: every policy against the calls that its software makes, and against some that it must not make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.alert_topics import PUBLISHERS
from components.controller_role import ControllerRoleArgs, controller_policy
from components.keys import topic_key_policy
from components.rights import (
    Place,
    alerting_policy,
    artifacts_policy,
    cache_maker_policy,
    cache_policy,
    certificate_policy,
    dns_policy,
    karpenter_policy,
    logs_policy,
    read_models,
    secrets_policy,
)
from components.sagemaker_endpoint import execution_policy
from tests.components.mocked import ACCOUNT, OWNED
from tests.support.iam_rules import Call, UnknownOperator, allows

TABLE: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "calls.yaml").read_text())
PLACE = Place("eu-central-1", ACCOUNT, "sluice-prod")
ELSEWHERE = "ap-northeast-1"
NODE = {"node_role_arn": "arn:node", "profile_arn": "arn:profile", "queue_arn": "arn:queue"}
CACHED = ["cache-prod/quay", "cache-prod/docker-hub"]
POLICIES = {
    "node": cache_policy(PLACE, CACHED),
    "cache-maker": cache_maker_policy(PLACE, CACHED),
    "karpenter": karpenter_policy(PLACE, **NODE),
    "cert-manager": certificate_policy("ZONE"),
    "external-dns": dns_policy(["ZONE", "PRIVATE"]),
    "alertmanager": alerting_policy(["arn:topic:support"], "arn:topic-key"),
    "external-secrets": secrets_policy(PLACE, "sluice/prod", ["arn:database-key"]),
    "pod-logs": logs_policy(PLACE),
    "mlflow": artifacts_policy("arn:bucket", "arn:key"),
    "endpoint": read_models(["arn:bucket"], ["arn:key"]),
    "controller": controller_policy(ControllerRoleArgs(["eu-central-1"], [ELSEWHERE], ACCOUNT, OWNED), ACCOUNT),
    "variant": execution_policy("arn:bucket", "arn:key", place=f"eu-central-1:{ACCOUNT}", owned=OWNED),
}


def spelled(value: Any) -> Any:
    """Return a call of the table with region, account and cluster written out."""
    if isinstance(value, dict):
        return {spelled(key): spelled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [spelled(inner) for inner in value]
    if value in ("R", "C"):
        return {"R": PLACE.region, "C": PLACE.cluster}[value]
    places = {":R:": f":{PLACE.region}:", ":A:": f":{ACCOUNT}:", ":S:": f":{ELSEWHERE}:", ".R.": f".{PLACE.region}."}
    for short, long in {
        **places,
        "-R": f"-{PLACE.region}",
        "-S-": f"-{ELSEWHERE}-",
        "/C/": f"/{PLACE.cluster}/",
    }.items():
        value = value.replace(short, long)
    return f"{value[:-2]}/{PLACE.cluster}" if value.endswith("/C") else value


def call(row: list[Any]) -> Call:
    action, resource, *context = spelled(row)
    return Call(f"arn:aws:iam::{ACCOUNT}:role/x", action, resource, context[0] if context else {})


ROWS = [(who, what, row) for who, rows in TABLE.items() for what in ("may", "may_not") for row in rows[what]]


@pytest.mark.parametrize(("who", "what", "row"), ROWS, ids=[f"{who}-{what}-{row[0]}" for who, what, row in ROWS])
def test_a_call_is_allowed_exactly_where_its_software_needs_it(who: str, what: str, row: list[Any]) -> None:
    assert allows(POLICIES[who], call(row)) is (what == "may")


def test_every_policy_has_calls_and_a_source() -> None:
    assert TABLE.keys() == POLICIES.keys()
    assert all(rows["source"] and rows["may"] and rows["may_not"] for rows in TABLE.values())


def test_the_evaluator_knows_deny_wildcards_and_conditions() -> None:
    allow = '{"Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:b/*"}]}'
    deny = '{"Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "arn:b/secret*"}]}'
    asked = [Call("x", "s3:GetObject", resource) for resource in ("arn:b/a", "arn:b/secret/a", "arn:c/a")]
    assert [allows(allow, c, others=[deny]) for c in asked] == [True, False, False]


def test_the_evaluator_refuses_to_guess() -> None:
    odd = (
        '{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"NumericLess": {"a": "1"}}}]}'
    )
    with pytest.raises(UnknownOperator):
        allows(odd, Call("x", "s3:GetObject", "*", {"a": "0"}))


@pytest.mark.parametrize("service", PUBLISHERS)
def test_aws_alarms_encrypt_what_they_publish(service: str) -> None:
    policy = topic_key_policy(
        ACCOUNT, ["budgets.amazonaws.com", "cloudwatch.amazonaws.com", "costalerts.amazonaws.com"]
    )
    assert allows(policy, Call(service, "kms:GenerateDataKey", "*"))
    assert not allows(policy, Call("ec2.amazonaws.com", "kms:GenerateDataKey", "*"))
