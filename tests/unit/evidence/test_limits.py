"""Limits on the traffic itself: the mean a request, in words with its unit; no data is INCONCLUSIVE, never zero."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from environments.spec import TrafficQuery
from reconciler.core.model.counts import Counts
from reconciler.core.model.settings import Limit, TokenPrices
from reconciler.core.model.tokens import Tokens
from reconciler.core.model.verdict import Verdict
from reconciler.evidence.limits import judge_limit
from reconciler.evidence.traffic_metrics import traffic_sample
from reconciler.ports import Sample

COUNTED = Counts(requests=300, errors=5, rejected=60, tokens=Tokens(answers=200, input=10_000, output=80_000))
PRICES = TokenPrices(2.0, 10.0)


def judged(query: TrafficQuery, counts: Counts = COUNTED, **limit: Any) -> tuple[Verdict, str]:
    return judge_limit(Limit("mine", "traffic", query, **limit), traffic_sample(query, counts, PRICES))


@pytest.mark.parametrize(
    ("query", "value", "requests", "words"),
    [
        ("output_tokens", 400.0, 200, "400 output tokens a request"),
        ("input_tokens", 50.0, 200, "50 input tokens a request"),
        ("cost_usd", 0.0041, 200, "0.0041 USD a request"),
        ("rejected_rate", 0.2, 300, "0.2 of the requests"),
    ],
)
def test_each_figure_and_its_words(query: TrafficQuery, value: float, requests: int, words: str) -> None:
    sample = traffic_sample(query, COUNTED, PRICES)
    assert sample is not None
    assert sample.value == pytest.approx(value)
    assert sample.samples == requests
    assert judged(query, max=value * 0.9) == (
        Verdict.FAIL,
        f"mine is {words}, above its limit {value * 0.9:g} ({requests} samples)",
    )
    assert judged(query, min=value * 1.1)[0] is Verdict.FAIL
    assert judged(query, min=value * 0.9, max=value * 1.1) == (Verdict.PASS, f"mine is {words}")


@pytest.mark.parametrize("query", get_args(TrafficQuery))
def test_nothing_counted_is_no_data(query: TrafficQuery) -> None:
    assert traffic_sample(query, Counts(), PRICES) is None
    assert judged(query, Counts(), max=1, samples_min=200) == (
        Verdict.INCONCLUSIVE,
        "mine has 0 samples; the limit needs 200",
    )


@pytest.mark.parametrize("query", ["output_tokens", "input_tokens", "cost_usd"])
def test_requests_without_token_counters_are_no_data(query: TrafficQuery) -> None:
    assert judged(query, Counts(requests=1000), max=1e9)[0] is Verdict.INCONCLUSIVE


def test_answers_of_no_tokens_are_data() -> None:
    assert judged("output_tokens", Counts(3, tokens=Tokens(3, 30, 0)), min=1)[0] is Verdict.FAIL


def test_fewer_requests_than_asked_are_inconclusive_whatever_the_value() -> None:
    assert judged("output_tokens", max=1, samples_min=201)[0] is Verdict.INCONCLUSIVE
    assert judged("output_tokens", max=1, samples_min=200)[0] is Verdict.FAIL


def test_a_source_without_a_unit_says_the_bare_figure() -> None:
    limit = Limit("click_through", "http", "q", min=0.04)
    assert judge_limit(limit, Sample(0.05, 9)) == (Verdict.PASS, "click_through is 0.05")
    assert judge_limit(limit, Sample(0.03, 9))[1] == "click_through is 0.03, below its limit 0.04 (9 samples)"
