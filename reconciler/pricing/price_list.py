"""The AWS Price List API: what to ask for one machine, and the one price in what comes back. Pure.

Source: service model `pricing` 2017-10-15 (GetProducts gives each product as a JSON string), AmazonEC2's and
AmazonSageMaker's attributes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from environments.prices import EC2, Price

SERVICES = {"ec2": "AmazonEC2", "sagemaker": "AmazonSageMaker"}
SOURCE, TOLD = (
    "aws-price-list",
    "AWS Price List API, GetProducts: on demand; EC2: Linux, shared tenancy; SageMaker: hosting",
)
Wanted = tuple[str, str, str]
"""Service, region, instance type without `ml.`."""


def filters_of(wanted: Wanted) -> list[dict[str, str]]:
    """Return the filters that leave one price of a machine: without them EC2 gives several to a type."""
    service, region, instance = wanted
    if service == EC2:
        asked = {
            "instanceType": instance,
            "regionCode": region,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
        }
    else:
        asked = {"instanceName": f"ml.{instance}", "regionCode": region, "productFamily": "ML Instance"}
    return [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in asked.items()]


def price_in(wanted: Wanted, products: Iterable[Any], day: str) -> Price:
    """Return the price that a machine's products give; without exactly one it has none, and the reason says why."""
    service, region, instance = wanted
    found = sorted({usd for product in products for usd in _hourly(service, product)})
    if len(found) == 1:
        return Price(service, region, instance, found[0], day, SOURCE)
    several = ", ".join(f"{usd:g}" for usd in found)
    reason = f"AWS's list has several prices ({several})" if found else "AWS's list has no on-demand price of it there"
    return Price(service, region, instance, None, day, SOURCE, reason)


def _hourly(service: str, product: Any) -> Iterator[float]:
    """Yield a product's on-demand prices for an hour, whichever way the client hands products over."""
    told = json.loads(product) if isinstance(product, str) else product
    attributes = told.get("product", {}).get("attributes", {})
    hosts = "Hosting" in (attributes.get("component"), attributes.get("platoinstancetype"))
    if service != EC2 and not hosts:
        return
    for term in told.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            usd = float(dimension.get("pricePerUnit", {}).get("USD", 0))
            if dimension.get("unit", "Hrs") in ("Hrs", "Hours", "hours", "Hour") and usd > 0:
                yield usd
