"""Prices read from AWS: the client's own stub checks every request and answer against the service's model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from environments.errors import SluiceError
from environments.prices import FILE, packaged, read_prices
from reconciler.pricing import aws
from reconciler.pricing.aws import read_aws
from reconciler.pricing.price_list import filters_of

boto3 = pytest.importorskip("boto3")
from botocore.stub import Stubber  # noqa: E402

EC2_L4, HOST_L4 = ("ec2", "eu-central-1", "g6.2xlarge"), ("sagemaker", "ap-northeast-1", "g6.2xlarge")
DAY = "2026-11-30"


def product(usd: str, *, service: str = "AmazonEC2", unit: str = "Hrs", **attributes: str) -> str:
    """Return a product as the API hands it over: JSON in a string, terms keyed by codes."""
    told = {
        "product": {"productFamily": "Compute Instance", "attributes": attributes, "sku": "SKU1"},
        "serviceCode": service,
        "terms": {
            "OnDemand": {
                "SKU1.JRTCKXETXF": {
                    "priceDimensions": {
                        "SKU1.JRTCKXETXF.6YS6EN2CT7": {
                            "unit": unit, "endRange": "Inf", "beginRange": "0", "appliesTo": [],
                            "description": f"${usd} per On Demand Linux Instance Hour",
                            "rateCode": "SKU1.JRTCKXETXF.6YS6EN2CT7", "pricePerUnit": {"USD": usd},
                        }
                    },
                    "sku": "SKU1", "effectiveDate": "2026-11-01T00:00:00Z", "offerTermCode": "JRTCKXETXF",
                    "termAttributes": {},
                }
            },
            "Reserved": {
                "SKU1.X": {"priceDimensions": {"SKU1.X.Y": {"unit": "Hrs", "pricePerUnit": {"USD": "0.3"}}}}
            },
        },
        "version": "20261128", "publicationDate": "2026-11-28T00:00:00Z",
    }  # fmt: skip
    return json.dumps(told)


def host(usd: str, component: str = "Hosting") -> str:
    return product(usd, service="AmazonSageMaker", component=component, instanceName="ml.g6.2xlarge")


def client_that_answers(*answers: tuple[tuple[str, str, str], list[str], str | None, str | None]) -> Any:
    """Return a client that wants exactly these questions: machine, products, token of the question and the answer."""
    client = boto3.client("pricing", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
    stub = Stubber(client)
    for wanted, products, token, following in answers:
        service = {"ec2": "AmazonEC2", "sagemaker": "AmazonSageMaker"}[wanted[0]]
        asked: dict[str, Any] = {"ServiceCode": service, "Filters": filters_of(wanted), "FormatVersion": "aws_v1"}
        asked |= {"NextToken": token} if token else {}
        answer: dict[str, Any] = {"FormatVersion": "aws_v1", "PriceList": products}
        stub.add_response("get_products", answer | ({"NextToken": following} if following else {}), asked)
    stub.activate()
    return client


def read(wanted: tuple[str, str, str], *products: str) -> Any:
    [row] = read_aws([wanted], DAY, client_that_answers((wanted, list(products), None, None)))
    return row


def test_a_machine_has_its_on_demand_price_with_day_and_source() -> None:
    row = read(EC2_L4, product("1.2224900000", instanceType="g6.2xlarge"))
    assert (row.usd_per_hour, row.date, row.source, row.reason) == (1.22249, DAY, "aws-price-list", "")


def test_hosting_is_told_from_training_on_the_same_machine() -> None:
    assert read(HOST_L4, host("1.7"), host("1.5", "Training"), host("1.6", "BatchTransform")).usd_per_hour == 1.7
    assert read(HOST_L4, host("1.5", "Training")).usd_per_hour is None


@pytest.mark.parametrize(
    ("products", "why"),
    [
        ([], "no on-demand price"),
        ([product("0.0000000000")], "no on-demand price"),
        ([product("5.0", unit="Quantity")], "no on-demand price"),
        ([product("1.0"), product("2.0")], r"several prices \(1, 2\)"),
    ],
)
def test_without_one_price_it_is_unknown_and_says_why(products: list[str], why: str) -> None:
    row = read(EC2_L4, *products)
    assert row.usd_per_hour is None
    assert __import__("re").search(why, row.reason)


def test_pages_are_read_to_the_last() -> None:
    client = client_that_answers((EC2_L4, [], None, "t1"), (EC2_L4, [product("1.0")], "t1", None))
    assert read_aws([EC2_L4], DAY, client)[0].usd_per_hour == 1.0


@pytest.mark.parametrize(
    ("code", "retryable"), [("AccessDeniedException", False), ("ThrottlingException", True), ("ExpiredToken", False)]
)
def test_a_refusal_is_coded_and_says_what_to_do(code: str, retryable: bool) -> None:
    client = boto3.client("pricing", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
    stub = Stubber(client)
    stub.add_client_error("get_products", code, "no")
    stub.activate()
    with pytest.raises(SluiceError, match=code) as caught:
        read_aws([EC2_L4], DAY, client)
    assert (caught.value.code, caught.value.retryable) == ("PRICE-002", retryable)
    assert "pricing:GetProducts" in caught.value.problem.do


ENVIRONMENT = """environment: test
owner: us
store: sqlite:///x.db
regions:
  eu-central-1:
    platform: kubernetes
    gpu_pools: {l4: {gpu: L4, instance: g6.2xlarge, gpus_per_node: 1, vram_gib: 24, nodes: {min: 0, max: 1}}}
  laptop:
    platform: local
    gateway_port: 18080
    serve_command: [x]
    gpu_pools: {l4: {gpu: L4, instance: g6.4xlarge, gpus_per_node: 1, vram_gib: 24, nodes: {min: 0, max: 1}}}
endpoints:
  chat: {team: t, runtime: vllm, pool: l4, release: {model: "file:m"}}
"""


def test_refresh_keeps_what_it_read_beside_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.cli.main import cli

    folder = tmp_path / "environments"
    folder.mkdir()
    (folder / "test.yaml").write_text(ENVIRONMENT)
    monkeypatch.setenv("SLUICE_ENVIRONMENTS", str(folder))
    client = client_that_answers((EC2_L4, [product("1.5")], None, None))
    monkeypatch.setattr(aws, "pricing_client", lambda: client)
    ran = CliRunner().invoke(cli, ["prices", "refresh", "test"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert "1 prices read from AWS" in ran.output
    kept = read_prices(folder / FILE)
    assert kept.find(*EC2_L4).usd_per_hour == 1.5
    assert len(kept.rows) == len(packaged().rows), "what was not asked for stays"
    shown = CliRunner().invoke(cli, ["prices", "--region", "eu-central-1"], catch_exceptions=False)
    assert "1.5000" in shown.output
    assert "days old" in shown.output
    told = json.loads(CliRunner().invoke(cli, ["prices", "--json"], catch_exceptions=False).output)
    assert told["age_days"] > 300
