"""From evidence to verdict and sentence, and into the reports."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from loadtests.figures import Comparison, MetricFigures, finite
from loadtests.interval import Interval
from loadtests.profile import Compare
from loadtests.report import Case, html_report, junit_xml
from loadtests.search import Capacity, Probe
from loadtests.stream import Outcome, Stream
from reconciler.core.model.verdict import Verdict
from reconciler.gates.load import LoadJudgement, judge_load, settled
from tests.unit.loadtests.made import comparison, comparison_of_rounds, drawn, late, profile, stream


def judged(comparison: Comparison) -> LoadJudgement:
    return judge_load(comparison, max_regression=0.10)


def dead(count: int, outcome: Outcome = Outcome.TIMEOUT) -> list[Stream]:
    return [stream(i, at=100.0 + i * 0.1, outcome=outcome) for i in range(count)]


def test_an_equal_challenger_passes() -> None:
    found = judged(comparison(drawn(900, seed=1), drawn(900, seed=2)))
    assert found.verdict is Verdict.PASS, found
    assert "keeps the SLO" in found.sentence


def test_a_slower_challenger_fails_and_the_sentence_names_both_figures_and_the_limit() -> None:
    found = judged(comparison(drawn(900, seed=1), drawn(900, factor=1.3, seed=2)))
    assert found.verdict is Verdict.FAIL
    assert re.search(r"ttft_p50 is [\d.]+ ms against [\d.]+ ms: \+3\d\.\d%", found.sentence)
    assert "the limit is +10%" in found.sentence
    assert "900 requests an arm" in found.sentence


def test_more_errors_fail() -> None:
    found = judged(comparison(drawn(900), drawn(900, fail=lambda i: i % 10 == 0)))
    assert found.verdict is Verdict.FAIL
    assert "error_rate is 10.00% against 0.00%" in found.sentence


def test_a_challenger_that_hangs_fails() -> None:
    found = judged(comparison(drawn(300), [*drawn(150), *dead(300)[150:]]))
    assert found.verdict is Verdict.FAIL


def test_few_requests_are_inconclusive_and_say_how_many_are_needed() -> None:
    found = judged(comparison(drawn(40), drawn(40)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "40 pairs of requests, 100 are needed" in found.sentence


def test_a_wide_interval_is_inconclusive_and_says_how_many_would_do() -> None:
    found = judged(comparison(drawn(150), drawn(150)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert re.search(r"about [\d,]+ requests an arm would decide it, 150 were sent", found.sentence)


def test_a_figure_on_the_limit_promises_no_number() -> None:
    on_it = MetricFigures("ttft_p50", "ratio", 900, 50.0, 55.0, Interval(1.1, 1.05, 1.15))
    found = judged(replace(comparison(drawn(900), drawn(900)), metrics=(on_it,)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "lies on the limit" in found.sentence


def test_a_broken_slo_that_the_champion_keeps_is_a_fail_with_number_and_key() -> None:
    found = judged(replace(comparison(drawn(900, factor=2.0), drawn(900, factor=5.0)), sources={"ttft_p95_ms": "HERE"}))
    assert found.verdict is Verdict.FAIL
    (slo,) = [finding for finding in found.findings if finding.name == "slo ttft_p95_ms"]
    assert slo.verdict is Verdict.FAIL
    assert re.search(r"ttft_p95_ms is [\d.]+ \([\d.]+ to [\d.]+\), the SLO is 200 \(HERE\)", slo.sentence)


def test_a_slo_that_the_champion_breaks_too_convicts_nobody() -> None:
    """It is the load or the machine; going back to the champion would not mend it, so a person decides."""
    found = judged(comparison(drawn(900, factor=6.0, seed=1), drawn(900, factor=6.0, seed=2)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "the SLO is 200" in found.sentence
    assert "the champion breaks it too" in found.sentence


def test_a_slo_that_both_break_convicts_who_breaks_it_more() -> None:
    found = judged(comparison(drawn(900, factor=6.0, seed=1), drawn(900, factor=12.0, seed=2)))
    slo = next(finding for finding in found.findings if finding.name == "slo ttft_p95_ms")
    assert (found.verdict, slo.verdict) == (Verdict.FAIL, Verdict.FAIL)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, Verdict.PASS), (5.0, Verdict.FAIL)])
def test_a_first_deployment_is_judged_by_the_slo(factor: float, verdict: Verdict) -> None:
    found = judged(comparison(drawn(900, factor=factor)))
    assert found.verdict is verdict
    assert "900 requests an arm" in found.sentence


@pytest.mark.parametrize("count", [0, 1, 19, 50])
def test_a_first_deployment_with_too_few_requests_is_inconclusive(count: int) -> None:
    found = judged(comparison(drawn(count, factor=9.0)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert f"{count} samples, 100 are needed" in found.sentence


def test_a_first_deployment_without_any_demand_is_inconclusive() -> None:
    found = judged(comparison(drawn(900), shape=profile(slo={})))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "no champion to compare with" in found.sentence


@pytest.mark.parametrize("worse", [1.0, 2.0])
def test_live_traffic_that_suffers_is_an_error_whatever_the_figures(worse: float) -> None:
    stopped = comparison(
        drawn(900), drawn(900, factor=worse), outcome="aborted", code="LOAD-023", reason="live TTFT doubled"
    )
    found = judged(stopped)
    assert found.verdict is Verdict.ERROR
    assert "LOAD-023: live TTFT doubled" in found.sentence
    assert not settled(stopped, max_regression=0.1)


def test_a_dead_champion_is_an_error_and_no_excuse_for_the_challenger() -> None:
    assert judged(comparison(dead(200), drawn(200))).verdict is Verdict.ERROR
    assert judged(comparison(dead(200), dead(200))).verdict is Verdict.ERROR


def test_giving_up_is_a_fail_only_when_the_challenger_is_the_one_that_broke() -> None:
    told: dict[str, Any] = {"outcome": "given_up", "code": "LOAD-022", "reason": "50 requests failed in a row"}
    broken = [*drawn(100), *dead(300, Outcome.CONNECT)[100:]]
    assert judged(comparison(drawn(300), broken, **told)).verdict is Verdict.FAIL
    both = judged(comparison(broken, broken, **told))
    assert both.verdict is Verdict.ERROR
    assert "LOAD-022" in both.sentence


def test_a_late_generator_costs_its_seconds_and_not_the_verdict() -> None:
    """Half of a minute was the generator's own: what is left decides, and what was left out is said."""
    seconds = range(10, 40)
    arms = [late(drawn(900, seed=seed), seconds, by_s=0.4, slower=30.0) for seed in (1, 2)]
    found = judged(comparison(*arms))
    assert found.verdict is Verdict.PASS, found
    assert "latencies of 310 of them, in 31 s, are left out" in found.sentence
    assert "400 ms late" in found.sentence


def test_a_generator_that_is_always_late_says_nothing_of_latencies() -> None:
    arms = [late(drawn(900, factor=factor, seed=1), range(90), by_s=0.4) for factor in (1.0, 9.0)]
    found = judged(comparison(*arms))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "0 pairs of requests, 100 are needed" in found.sentence
    assert "left out" in found.sentence


def test_a_late_generator_does_not_hide_errors() -> None:
    arms = late(drawn(900), range(90), by_s=0.4), late(drawn(900, fail=lambda i: i % 4 == 0), range(90), by_s=0.4)
    found = judged(comparison(*arms))
    assert found.verdict is Verdict.FAIL
    assert "error_rate is 25.00% against 0.00%" in found.sentence


def test_a_late_first_deployment_is_looked_at_as_well() -> None:
    found = judged(comparison(late(drawn(900, factor=1.0), range(90), by_s=0.4, slower=30.0)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "left out" in found.sentence


def test_time_that_is_up_is_named_with_its_key() -> None:
    undecided = replace(comparison(drawn(150), drawn(150)), out_of_time=True)
    assert "`max_duration_s` of the load gate" in judged(undecided).sentence


def test_rounds_add_up_and_each_look_costs_something() -> None:
    once = comparison_of_rounds([(drawn(300, seed=1), drawn(300, seed=2))])
    thrice = comparison_of_rounds([(drawn(300, seed=n), drawn(300, seed=9 + n)) for n in range(3)])
    assert (once.requests, thrice.requests, thrice.looks) == (300, 900, 3)
    again = [replace(comparison_of_rounds([(drawn(300, seed=1), drawn(300, seed=2))]), looks=n) for n in (1, 3)]
    assert again[0].metrics == again[1].metrics  # figures are made with the look's own chance, not with a later one


def test_the_same_evidence_gives_the_same_bytes() -> None:
    one, two = (comparison(drawn(300, seed=1), drawn(300, seed=2)) for _ in range(2))
    assert json.dumps(one.to_json(), sort_keys=True) == json.dumps(two.to_json(), sort_keys=True)
    assert "Student" in one.to_json()["method"]


def test_a_bound_that_nothing_supports_is_null_and_never_infinity() -> None:
    sure = profile(compare=Compare(metrics=["ttft_p95"], confidence=0.999))
    few = comparison(drawn(120), drawn(120), shape=sure)
    assert any(metric.change and metric.change.high == float("inf") for metric in few.metrics)
    assert "Infinity" not in json.dumps(few.to_json())
    assert finite({"a": [float("inf"), 1.0, float("nan")]}) == {"a": [None, 1.0, None]}
    assert "no bound yet" in judged(few).sentence
    assert "no bound" in html_report("x", Case("load", "FAIL", "x"), [], comparison=few)


def test_the_html_report_stands_alone_and_its_plots_are_well_formed() -> None:
    compared = comparison(drawn(300, seed=1), drawn(300, factor=1.4, seed=2), shape=profile())
    found = judged(compared)
    cases = [Case(item.name, item.verdict, item.sentence) for item in found.findings]
    capacity = Capacity(
        20.0, "tolerance", "", (Probe(10.0, 10.0, 80.0, 0.0, ()), Probe(40.0, 12.0, 900.0, 0.0, ("ttft",)))
    )
    page = html_report(
        "Load <gate>", Case("load", found.verdict, found.sentence), cases, comparison=compared, capacity=capacity
    )
    assert "Load &lt;gate&gt;" in page
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) == 5
    for plot in plots:
        ElementTree.fromstring(plot)
    assert "SLO kept" in page


def test_junit_counts_what_did_not_pass() -> None:
    cases = [Case(v.lower(), v, f"because <{v}>") for v in ("PASS", "FAIL", "INCONCLUSIVE", "ERROR")]
    root = ElementTree.fromstring(junit_xml("load", cases).encode())
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "2", "1")
    kinds = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert kinds == {"pass": ["system-out"], "fail": ["failure"], "inconclusive": ["failure"], "error": ["error"]}
