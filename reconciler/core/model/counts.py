"""What one arm of an endpoint counted over a period. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.core.model.tokens import Tokens, tokens_of_both

HISTOGRAMS = ("ttft_s", "itl_s", "tpot_s", "answer_s")


@dataclass(frozen=True)
class Counts:
    """Counts of one arm over a period; histograms are cumulative by upper bound in seconds, `+Inf` included.

    `errors` and `rejected` are of `requests`, and no request is in both. `itl_s` counts gaps between tokens, `tpot_s`
    the mean gap of each answer, `answer_s` whole answers. `tokens` is None where nobody counted them, which is not
    zero.
    """

    requests: int = 0
    errors: int = 0
    rejected: int = 0
    ttft_s: Mapping[str, float] = field(default_factory=dict)
    itl_s: Mapping[str, float] = field(default_factory=dict)
    tpot_s: Mapping[str, float] = field(default_factory=dict)
    answer_s: Mapping[str, float] = field(default_factory=dict)
    tokens: Tokens | None = None


def counts_of_both(one: Counts, other: Counts) -> Counts:
    """Return the sum of two periods."""
    return Counts(
        one.requests + other.requests,
        one.errors + other.errors,
        one.rejected + other.rejected,
        tokens=tokens_of_both(one.tokens, other.tokens),
        **{name: _added(getattr(one, name), getattr(other, name)) for name in HISTOGRAMS},
    )


def _added(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {le: one.get(le, 0.0) + other.get(le, 0.0) for le in {**one, **other}}
