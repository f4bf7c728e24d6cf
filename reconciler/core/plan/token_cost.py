"""What a million tokens cost on machines of one's own, at the traffic that is declared or was measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from environments.names import Address
from environments.spec import EndpointSpec, EnvironmentSpec
from reconciler.core.canonical import Json
from reconciler.core.model.desired import DesiredEndpoint

DECLARED, MEASURED = "declared", "measured"
_HOUR_S, _MILLION = 3600.0, 1e6


def token_costs(
    spec: EnvironmentSpec,
    endpoints: Sequence[DesiredEndpoint],
    usd_per_hour: Sequence[float | None],
    rates_rps: Mapping[Address, float],
) -> list[Json]:
    """Return a line for each endpoint that says how long its requests and answers are.

    `rates_rps` are what all replicas carry at the SLO: the least that tokens can cost. A rate that is declared counts.
    """
    found = []
    for each, usd in zip(endpoints, usd_per_hour, strict=True):
        declared = spec.endpoints.get(each.address.endpoint)
        if declared is None or declared.traffic is None:
            continue
        rate, basis = declared.traffic.requests_per_s, DECLARED
        if rate is None:
            rate, basis = rates_rps.get(each.address), MEASURED
        prices = token_usd(declared, usd, rate) if usd is not None and rate else None
        found.append(
            {
                "address": str(each.address),
                "basis": basis if rate else None,
                "requests_per_s": rate,
                "usd_per_million_input": round(prices[0], 4) if prices else None,
                "usd_per_million_output": round(prices[1], 4) if prices else None,
            }
        )
    return found


def token_usd(declared: EndpointSpec, usd_per_hour: float, rate_rps: float) -> tuple[float, float] | None:
    """Return USD for a million tokens read and written, which together pay for the machines.

    What a written token costs of a read one is the ratio of `token_prices`; without those, as much.
    """
    traffic, prices = declared.traffic, declared.token_prices
    if traffic is None:
        return None
    read, written = (prices.input_usd_per_million, prices.output_usd_per_million) if prices else (1.0, 1.0)
    parts = rate_rps * _HOUR_S * (read * traffic.input_tokens + written * traffic.output_tokens)
    return None if parts <= 0 else (usd_per_hour * read / parts * _MILLION, usd_per_hour * written / parts * _MILLION)
