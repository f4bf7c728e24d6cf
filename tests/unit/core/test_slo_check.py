"""The bake's check holds at every look: a kept promise is hardly ever called broken, another one soon is."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from numpy.random import default_rng

from reconciler.core.judge import LENGTH_SPREAD
from reconciler.core.model.counts import Counts
from reconciler.core.model.tokens import Tokens
from reconciler.core.model.verdict import Verdict
from reconciler.core.slo_check import OPEN_SHARE, Unanswered, broken_evidence, check_slo

ERRORS = {"error_rate": 0.01}
LOOKS, EACH = 180, 100


def first_broken(rate: float, *, alpha: float, runs: int) -> npt.NDArray[np.float64]:
    """Return after how many requests each run is called broken, looked at every hundred; inf for never."""
    bad = np.cumsum(default_rng(1).binomial(EACH, rate, (runs, LOOKS)), 1)
    found = np.full(runs, math.inf)
    for run in range(runs):
        for look in range(LOOKS):
            counts = Counts(EACH * (look + 1), int(bad[run, look]))
            if check_slo(counts, ERRORS, alpha=alpha)[0] is Verdict.FAIL:
                found[run] = counts.requests
                break
    return found


def test_at_the_limit_itself_looking_all_the_time_breaks_no_more_than_alpha() -> None:
    # At alpha 0.05 more than 32 of 400 has probability 0.006. Wilson's bound at every look broke 12 % at 0.01.
    assert np.isfinite(first_broken(0.01, alpha=0.05, runs=400)).sum() <= 32


@pytest.mark.parametrize(("rate", "requests"), [(0.02, 5000), (0.03, 1500), (0.1, 300)])
def test_a_broken_promise_is_found(rate: float, requests: int) -> None:
    found = first_broken(rate, alpha=0.0005, runs=60)
    assert np.quantile(found, 0.9) <= requests


@pytest.mark.parametrize("allowed", [0.0005, 0.01, 0.05, 0.5, 0.95])
def test_the_evidence_of_one_more_request_is_worth_one_on_average(allowed: float) -> None:
    bad, good = (math.exp(broken_evidence(count, 1, allowed)) for count in (1, 0))
    assert allowed * bad + (1 - allowed) * good == pytest.approx(1.0)


def test_a_promise_is_not_broken_by_what_was_rejected() -> None:
    assert check_slo(Counts(1000, errors=0, rejected=500), ERRORS)[0] is Verdict.PASS
    assert check_slo(Counts(1000, errors=500, rejected=0), ERRORS)[0] is Verdict.FAIL


def test_few_samples_are_inconclusive_whatever_they_say() -> None:
    assert check_slo(Counts(19, errors=19), ERRORS) == (
        Verdict.INCONCLUSIVE,
        "error_rate has 19 samples; the check needs 20",
    )
    assert check_slo(Counts(), {}) == (Verdict.PASS, "no slo is declared")


def test_a_percentile_is_a_share_above_its_bound() -> None:
    slow = {"0.5": 800.0, "1.0": 900.0, "+Inf": 1000.0}
    assert check_slo(Counts(ttft_s=slow), {"ttft_p95_ms": 500.0})[0] is Verdict.FAIL
    assert check_slo(Counts(ttft_s={"0.5": 960.0, "+Inf": 1000.0}), {"ttft_p95_ms": 500.0})[0] is Verdict.PASS


def test_the_tokens_of_an_answer_are_no_thousand_observations() -> None:
    """Thirty answers of 500 tokens, three of them slow throughout: luck, and not 1,500 slow tokens."""
    slow = {"0.05": 13_500.0, "+Inf": 15_000.0}
    slo = {"itl_p95_ms": 50.0}
    assert check_slo(Counts(itl_s=slow, tokens=Tokens(30, 0, 15_000)), slo)[0] is not Verdict.FAIL
    many = {le: 100 * count for le, count in slow.items()}
    assert check_slo(Counts(itl_s=many, tokens=Tokens(3_000, 0, 1_500_000)), slo)[0] is Verdict.FAIL


def test_requests_without_an_end_break_a_promise_of_their_own() -> None:
    fine = Counts(1000, 0)
    hanging = Unanswered(60.0, begun=200, open=60)
    verdict, sentence = check_slo(fine, ERRORS, unanswered=hanging)
    assert verdict is Verdict.FAIL
    assert sentence == "an answer within 60 s broken by 60 of 200 requests (30.0 %; 5 % allowed); error_rate kept"
    few = Unanswered(60.0, begun=1000, open=round(1000 * OPEN_SHARE))
    assert check_slo(fine, ERRORS, unanswered=few)[0] is Verdict.PASS
    assert check_slo(fine, ERRORS, unanswered=Unanswered(60.0, 3, 3)) == check_slo(fine, ERRORS)


def test_several_promises_share_alpha() -> None:
    counts = Counts(1000, errors=24, ttft_s={"0.5": 1000.0, "+Inf": 1000.0})
    alone = broken_evidence(24, 1000, 0.01)
    alpha = math.exp(-alone) * 1.5
    assert check_slo(counts, ERRORS, alpha=alpha)[0] is Verdict.FAIL
    assert check_slo(counts, ERRORS | {"ttft_p95_ms": 500.0}, alpha=alpha)[0] is Verdict.PASS


@pytest.mark.parametrize("name", ["ttft_p95_ms", "itl_p95_ms"])
@pytest.mark.parametrize(
    ("limit_ms", "bad"), [(250.0, 40), (251.0, 10), (500.0, 10), (501.0, 4), (1000.0, 4), (1001.0, 0), (1.0, 90)]
)
def test_only_what_lies_surely_above_the_bound_is_bad(name: str, limit_ms: float, bad: int) -> None:
    """The first bound that reaches the limit counts; beyond the last one nothing is known to be bad."""
    counted = {"0.125": 10.0, "0.2498": 30.0, "0.25": 60.0, "1.0": 96.0, "0.5": 90.0, "+Inf": 100.0}
    counts = Counts(ttft_s=counted) if name == "ttft_p95_ms" else Counts(itl_s=counted)
    told = f"{name} broken by {bad} of 100 requests ({bad:.1f} %; 5 % allowed)"
    assert check_slo(counts, {name: limit_ms}, alpha=0.9) == (
        (Verdict.FAIL, told) if bad > 6 else (Verdict.PASS, f"{name} kept")
    )


def test_twenty_samples_are_enough_to_break_a_promise() -> None:
    assert check_slo(Counts(20, errors=20), ERRORS) == (
        Verdict.FAIL,
        "error_rate broken by 20 of 20 requests (100.0 %; 1 % allowed)",
    )
    assert check_slo(Counts(20), ERRORS) == (Verdict.PASS, "error_rate kept")
    twenty = Unanswered(2.5, begun=20, open=20)
    assert check_slo(Counts(20), ERRORS, unanswered=twenty)[1].startswith("an answer within 2.5 s broken by 20 of 20")


def test_broken_promises_are_told_first_and_the_others_by_name() -> None:
    slow = {"0.5": 500.0, "+Inf": 1000.0}
    slo = {"ttft_p95_ms": 500.0, "error_rate": 0.01, "itl_p95_ms": 50.0}
    counts = Counts(1000, ttft_s=slow, itl_s={"0.05": 15.0, "+Inf": 15.0})
    assert check_slo(counts, slo) == (
        Verdict.FAIL,
        "ttft_p95_ms broken by 500 of 1000 requests (50.0 %; 5 % allowed); error_rate kept; "
        "itl_p95_ms has 15 samples; the check needs 20",
    )


def test_the_evidence_is_the_mean_of_what_each_bet_wins() -> None:
    assert broken_evidence(0, 0, 0.01) == pytest.approx(0.0)
    shares = [0.125, 0.15, 0.2, 0.3, 0.5, 0.91, 0.91]  # 1.25 to 30 times what is allowed, and never nearly all
    won = [(share / 0.1) ** 3 * ((1 - share) / 0.9) ** 7 for share in shares]
    assert broken_evidence(3, 10, 0.1) == pytest.approx(math.log(sum(won) / len(won)))


@pytest.mark.parametrize(
    ("counts", "samples"),
    [
        (Counts(itl_s={"0.05": 16.0, "+Inf": 16.0}, tokens=Tokens(4, 0, 20)), 1.0),
        (Counts(10, errors=4, rejected=2, itl_s={"0.05": 16.0, "+Inf": 16.0}), 1.0),
        (Counts(itl_s={"0.05": 16.0, "+Inf": 16.0}), 16.0),
        (Counts(itl_s={"0.05": 2.0, "+Inf": 2.0}, tokens=Tokens(4, 0, 20)), 2.0),
    ],
    ids=["answers by their tokens", "answers by their requests", "nobody knows how many", "answers of one token"],
)
def test_the_gaps_of_one_answer_count_for_less_than_those_of_many(counts: Counts, samples: float) -> None:
    mean = {1.0: 4.0, 16.0: 1.0, 2.0: 1.0}[samples]
    gaps = 1.0 + (mean - 1.0) * LENGTH_SPREAD
    said = check_slo(counts, {"itl_p95_ms": 50.0})[1]
    assert said == f"itl_p95_ms has {counts.itl_s['+Inf'] / gaps:.0f} samples; the check needs 20"


def test_promises_about_what_nobody_measured_are_undecided() -> None:
    for name in ("itl_p95_ms", "ttft_p95_ms"):
        found = check_slo(Counts(100), {name: 50.0})
        assert found == (Verdict.INCONCLUSIVE, f"{name} has 0 samples; the check needs 20")


def test_gaps_of_long_answers_are_divided_by_what_they_share() -> None:
    slow = Counts(itl_s={"0.05": 0.0, "+Inf": 4000.0}, tokens=Tokens(1000, 0, 5000))
    alike = 4000 / (1 + 3 * LENGTH_SPREAD)
    told = f"itl_p95_ms broken by {alike:.0f} of {alike:.0f} requests (100.0 %; 5 % allowed)"
    assert check_slo(slow, {"itl_p95_ms": 50.0}) == (Verdict.FAIL, told)
