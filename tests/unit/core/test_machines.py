"""What a preview's machines cost a month: adds, changes, removes, and never 0 for what nobody knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from environments.prices import EC2, SAGEMAKER, Price, PriceBook
from reconciler.core.plan.infrastructure import ResourceChange, StackPreview, preview_from_json, priced
from reconciler.core.plan.machines import Machines, machines_of, monthly_words

PRICES = PriceBook(
    (
        Price(EC2, "eu-west-1", "g6.xlarge", 1.0, "2026-01-21", "s"),
        Price(SAGEMAKER, "eu-west-1", "ml.g5.xlarge", 2.0, "2026-01-21", "s"),
    ),
    {"s": "a test"},
)
PROVIDER = "urn:pulumi:dev::platform::pulumi:providers:aws::aws-eu-west-1::0f2a"
GROUP = "aws:eks/nodeGroup:NodeGroup"
CONFIGURATION = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"  # what the engine sends for what it does not know yet


def group(size: object = 2, kind: object = "g6.xlarge") -> dict[str, Any]:
    return {"instanceTypes": [kind], "scalingConfig": {"desiredSize": size, "maxSize": 9}}


def machines(size: int | None, kind: str = "g6.xlarge") -> tuple[Machines, ...]:
    return (Machines(EC2, "eu-west-1", kind, size),)


@pytest.mark.parametrize(
    ("kind", "inputs", "found"),
    [
        (GROUP, group(), machines(2)),
        (GROUP, group(0), machines(0)),
        (GROUP, group(UNKNOWN_TEXT), machines(None)),
        (GROUP, group(kind=UNKNOWN_TEXT), machines(2, "")),
        (GROUP, {"instanceTypes": UNKNOWN_TEXT}, machines(None, "")),
        (GROUP, {**group(), "region": "us-east-1"}, (Machines(EC2, "us-east-1", "g6.xlarge", 2),)),
        ("aws:ec2/instance:Instance", {"instanceType": "g6.xlarge"}, machines(1)),
        (
            CONFIGURATION,
            {"productionVariants": [{"instanceType": "ml.g5.xlarge", "initialInstanceCount": 3}]},
            (Machines(SAGEMAKER, "eu-west-1", "ml.g5.xlarge", 3),),
        ),
        (CONFIGURATION, {"productionVariants": UNKNOWN_TEXT}, (Machines(SAGEMAKER, "eu-west-1", "", None),)),
        ("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16"}, ()),
    ],
)
def test_machines_are_read_of_the_types_that_have_prices(
    kind: str, inputs: dict[str, Any], found: tuple[Machines, ...]
) -> None:
    assert machines_of(kind, inputs, PROVIDER) == found


def test_each_kind_of_change_is_a_line() -> None:
    changes = [((), machines(2)), (machines(3), machines(1)), (machines(1), ())]
    assert monthly_words(changes, PRICES) == [
        "adds 1,460 USD a month, at desired size",
        "changes by -1,460 USD a month, at desired size",
        "removes 730 USD a month, at desired size",
    ]


def test_what_is_not_known_is_never_nothing() -> None:
    [added] = monthly_words([((), machines(2)), ((), machines(1, "m9.large"))], PRICES)
    assert added == "adds 1,460 USD a month and [?] (no row for ec2 m9.large in eu-west-1), at desired size"
    [unknown] = monthly_words([((), machines(None))], PRICES)
    assert unknown.startswith("adds [?] (the kind or the number")
    [changed] = monthly_words([(machines(2), machines(2, "m9.large"))], PRICES)
    assert "USD" not in changed, "one side alone is no difference"
    assert "region" in monthly_words([((), (Machines(EC2, "", "g6.xlarge", 1),))], PRICES)[0]
    assert monthly_words([], PRICES) == []
    assert monthly_words([(machines(2), machines(2))], PRICES) == [], "other tags cost nothing"


def test_a_preview_keeps_its_machines_and_its_cost() -> None:
    change = ResourceChange("urn::x", "create", GROUP, after=machines(2))
    made = priced(StackPreview("platform", (change, ResourceChange("urn::y", "create", "aws:ec2/vpc:Vpc"))), PRICES)
    assert made.cost == ("adds 1,460 USD a month, at desired size",)
    assert preview_from_json(json.loads(json.dumps(made.to_json()))) == made
    assert "before" not in json.dumps(StackPreview("x", (ResourceChange("u", "create", "t"),)).to_json())
