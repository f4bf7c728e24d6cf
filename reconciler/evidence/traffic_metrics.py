"""Figures a request that come with the traffic itself, for limits with `source: traffic`.

Pure; `reconciler.evidence.limits` judges what it returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import assert_never

from environments.spec import TrafficQuery
from reconciler.core.model.counts import Counts
from reconciler.core.model.settings import TokenPrices
from reconciler.core.model.tokens import Tokens
from reconciler.ports import Sample

UNITS: Mapping[TrafficQuery, str] = MappingProxyType(
    {
        "output_tokens": "output tokens a request",
        "input_tokens": "input tokens a request",
        "cost_usd": "USD a request",
        "rejected_rate": "of the requests",
    }
)


def traffic_sample(query: TrafficQuery, counts: Counts, prices: TokenPrices | None) -> Sample | None:
    """Return the mean a request over what was counted, None when nothing was: never zero instead.

    Tokens and costs are of answers that finished, rejections of all requests at the gateway. `prices` is the
    endpoint's `token_prices`, which `cost_usd` needs: the environment file is refused without.
    """
    amount, requests = _amount(query, counts, prices)
    return Sample(amount / requests, requests, UNITS[query]) if requests else None


def _amount(query: TrafficQuery, counts: Counts, prices: TokenPrices | None) -> tuple[float, int]:
    """Return the total and the number of requests behind it."""
    tokens = counts.tokens or Tokens()
    match query:
        case "output_tokens":
            return tokens.output, tokens.answers
        case "input_tokens":
            return tokens.input, tokens.answers
        case "cost_usd":
            return _usd(tokens, prices), tokens.answers
        case "rejected_rate":
            return counts.rejected, counts.requests
        case _:
            assert_never(query)


def _usd(tokens: Tokens, prices: TokenPrices | None) -> float:
    if prices is None:
        raise ValueError("the environment file lets nobody ask for a cost without token_prices")
    read, written = prices.input_usd_per_million, prices.output_usd_per_million
    return (tokens.input * read + tokens.output * written) / 1e6
