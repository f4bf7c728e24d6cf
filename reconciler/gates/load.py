"""Turns what a load test showed into one of the four verdicts and a sentence that a person can act on.

Pure. Imports `loadtests.compare` for its figures and `reconciler.core.verdict`. Called by the load gate, also between
rounds: `settled` tells the comparison when more load would change nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadtests.compare import PAIRS_MIN, Comparison, MetricFigures, SloFigures
from loadtests.interval import Interval
from reconciler.core.verdict import Verdict, fold


@dataclass(frozen=True)
class Finding:
    """The verdict on one metric or promise, with the sentence for it."""

    name: str
    verdict: Verdict
    sentence: str


@dataclass(frozen=True)
class LoadJudgement:
    """The verdict of the load gate. `findings` has one entry for each thing that was looked at, worst first."""

    verdict: Verdict
    sentence: str
    findings: tuple[Finding, ...]


_WORST_FIRST = (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS)


def judge_load(comparison: Comparison, *, max_regression: float) -> LoadJudgement:
    """Return the verdict on the challenger.

    FAIL: a latency is worse than the champion's by more than `max_regression`, or a promise of the SLO is broken, with
    the stated confidence. PASS: all of that is ruled out. INCONCLUSIVE: neither, or the generator was late. ERROR: the
    load was stopped because live traffic suffered, or the champion did not answer, so that there was no baseline.
    A challenger that stopped answering while the champion went on is a FAIL: its error rate says so.
    """
    broken = tuple(finding for finding in _run(comparison) if finding.verdict is Verdict.ERROR)
    if broken:
        return LoadJudgement(Verdict.ERROR, _sentence(Verdict.ERROR, broken, comparison), broken)
    findings = [_metric(figures, comparison, max_regression) for figures in comparison.metrics]
    findings += [_promise(figures) for figures in comparison.slo]
    findings += _run(comparison)
    ordered = tuple(sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.verdict)))
    verdict = fold(finding.verdict for finding in ordered)
    return LoadJudgement(verdict, _sentence(verdict, ordered, comparison), ordered)


def settled(comparison: Comparison, *, max_regression: float) -> bool:
    """Return whether the verdict is clear, so that no further round is needed."""
    return judge_load(comparison, max_regression=max_regression).verdict in (Verdict.PASS, Verdict.FAIL)


def _metric(figures: MetricFigures, comparison: Comparison, max_regression: float) -> Finding:
    limit = comparison.error_rate_margin if figures.kind == "difference" else 1 + max_regression
    change = figures.change
    if change is None:
        why = f"{figures.metric} has {figures.pairs} pairs of requests, {PAIRS_MIN} are needed"
        return Finding(figures.metric, Verdict.INCONCLUSIVE, why)
    told = f"{figures.metric} {_change(figures, change, limit)}"
    if change.low > limit:
        return Finding(figures.metric, Verdict.FAIL, told)
    if change.high <= limit:
        return Finding(figures.metric, Verdict.PASS, told)
    return Finding(figures.metric, Verdict.INCONCLUSIVE, f"{told}; {_more(change, limit, figures.pairs)}")


def _change(figures: MetricFigures, change: Interval, limit: float) -> str:
    assert figures.champion is not None
    assert figures.challenger is not None
    if figures.kind == "difference":
        return (
            f"is {figures.challenger:.2%} against {figures.champion:.2%}: {change.value:+.2%} "
            f"({change.low:+.2%} to {change.high:+.2%}), the limit is {limit:+.2%}"
        )
    return (
        f"is {figures.challenger:.4g} ms against {figures.champion:.4g} ms: {change.value - 1:+.1%} "
        f"({change.low - 1:+.1%} to {change.high - 1:+.1%}), the limit is {limit - 1:+.0%}"
    )


def _more(change: Interval, limit: float, pairs: int) -> str:
    """Say how many requests would do if the figure stays where it is: an interval shrinks with the root of them."""
    distance = abs(limit - change.value)
    reach = change.high - change.value if change.value <= limit else change.value - change.low
    if distance < reach / 10:
        return "it lies on the limit, so that more requests would hardly decide it"
    needed = math.ceil(pairs * (reach / distance) ** 2)
    return f"about {needed:,} requests an arm would decide it, {pairs:,} were sent"


def _promise(figures: SloFigures) -> Finding:
    shown = figures.challenger
    if shown is None:
        why = f"{figures.name} has {figures.samples} samples, {PAIRS_MIN} are needed for the SLO"
        return Finding(f"slo {figures.name}", Verdict.INCONCLUSIVE, why)
    too = figures.champion is not None and figures.champion > figures.limit
    told = (
        f"{figures.name} is {shown.value:.4g} ({shown.low:.4g} to {shown.high:.4g}), the SLO is {figures.limit:g}"
        f"{f'; the champion breaks it too with {figures.champion:.4g}' if too else ''}"
    )
    if shown.low > figures.limit:
        return Finding(f"slo {figures.name}", Verdict.FAIL, told)
    verdict = Verdict.PASS if shown.high <= figures.limit else Verdict.INCONCLUSIVE
    return Finding(f"slo {figures.name}", verdict, told)


def _run(comparison: Comparison) -> list[Finding]:
    """Return findings about the load itself: stopped, without a baseline, late."""
    findings = []
    told = f"{comparison.code}: {comparison.reason}"
    champion_ok = sum(result.arms[0].ok for result in comparison.rounds)
    if comparison.outcome == "aborted":
        findings.append(Finding("load", Verdict.ERROR, f"the load was stopped, {told}"))
    elif champion_ok == 0:
        findings.append(
            Finding("load", Verdict.ERROR, f"the champion answered nothing, so there is no baseline; {told}")
        )
    elif comparison.outcome == "given_up":
        findings.append(Finding("load", _given_up(comparison), f"the load was given up, {told}"))
    late = [result.lag_p99_ms for result in comparison.rounds if result.late]
    if late:
        why = f"the generator was up to {max(late):.1f} ms late (p99), so the figures are its own; use locust workers"
        findings.append(Finding("generator", Verdict.INCONCLUSIVE, why))
    return findings


def _given_up(comparison: Comparison) -> Verdict:
    """A target stopped answering: FAIL when it was the challenger alone, ERROR when the champion fails as well."""
    champion, challenger = comparison.rounds[-1].arms
    if challenger.error_rate is None or champion.error_rate is None:
        return Verdict.ERROR
    return Verdict.FAIL if challenger.error_rate > champion.error_rate + comparison.error_rate_margin else Verdict.ERROR


def _sentence(verdict: Verdict, findings: tuple[Finding, ...], comparison: Comparison) -> str:
    sent = f"{comparison.requests:,} requests an arm in {len(comparison.rounds)} round(s)"
    if verdict is Verdict.PASS:
        return f"under the same load the challenger keeps the SLO and is not slower than allowed ({sent})"
    worst = "; ".join(finding.sentence for finding in findings if finding.verdict is verdict)
    return f"{worst} ({sent})"
