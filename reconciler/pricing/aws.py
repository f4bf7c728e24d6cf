"""Reads prices from the AWS Price List API, machine by machine. Imports boto3 when it is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from environments.errors import SluiceError
from environments.prices import Price
from reconciler.pricing.price_list import SERVICES, Wanted, filters_of, price_in

REGION = "us-east-1"
"""One of the regions in which the API is; it tells the prices of all."""
_PAGES_MAX = 20


def pricing_client() -> Any:
    """Return a client with the caller's own credentials.

    Raises:
        SluiceError: `PRICE-002` boto3 is not installed, or there is no usable configuration.
    """
    try:
        import boto3
    except ImportError as error:
        raise _failed("boto3 is not installed", str(error), "pip install 'sluice[sagemaker]'") from error
    from botocore.exceptions import BotoCoreError

    try:
        return boto3.client("pricing", region_name=REGION)
    except BotoCoreError as error:
        raise _failed("no client could be made", str(error), _SIGN_IN) from error


def read_aws(wanted: Collection[Wanted], day: str, client: Any) -> tuple[Price, ...]:
    """Return a row for each machine, with `day` (YYYY-MM-DD) as its date; those without a price say why.

    Raises:
        SluiceError: `PRICE-002` AWS refuses or does not answer; nothing is half read.
    """
    return tuple(price_in(each, _products(each, client), day) for each in sorted(wanted))


def _products(wanted: Wanted, client: Any) -> Iterator[Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    asked = {"ServiceCode": SERVICES[wanted[0]], "Filters": filters_of(wanted), "FormatVersion": "aws_v1"}
    token: dict[str, str] = {}
    for _ in range(_PAGES_MAX):
        try:
            answer = client.get_products(**asked, **token)
        except (BotoCoreError, ClientError) as error:
            raise _refused(error) from error
        yield from answer.get("PriceList", [])
        if not answer.get("NextToken"):
            return
        token = {"NextToken": answer["NextToken"]}
    raise _failed(
        f"{wanted[2]} has more than {_PAGES_MAX} pages of products", "a filter is not obeyed", "try again later"
    )


_SIGN_IN = "sign in to AWS with a role that has pricing:GetProducts; aws sts get-caller-identity tells who you are"


def _refused(error: Exception) -> SluiceError:
    code = getattr(error, "response", {}).get("Error", {}).get("Code", type(error).__name__)
    passing = code in ("ThrottlingException", "InternalErrorException", "EndpointConnectionError")
    return _failed(f"AWS's price list was not read: {code}", str(error), _SIGN_IN, retryable=passing)


def _failed(what: str, why: str, do: str, *, retryable: bool = False) -> SluiceError:
    return SluiceError("PRICE-002", where="prices refresh", what=what, why=why, do=do, retryable=retryable)
