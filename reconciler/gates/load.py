"""Turns what a load test showed into one of the four verdicts and a sentence that a person can act on. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadtests.figures import PAIRS_MIN, Comparison, MetricFigures, SloFigures
from loadtests.interval import Interval
from reconciler.core.model.verdict import Verdict, fold
from reconciler.core.wording import number_of


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


_NOTHING_DEMANDED = Finding(
    "load",
    Verdict.INCONCLUSIVE,
    "there is no champion to compare with, and no `slo` says what is good enough: add one to the endpoint or the "
    "profile, or let a person decide with `sluice promote`",
)
_WORST_FIRST = (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS)


def judge_load(comparison: Comparison, *, max_regression: float) -> LoadJudgement:
    """Return the verdict on the challenger.

    FAIL: a latency is worse than the champion's by more than `max_regression`, or a promise of the SLO is broken by the
    challenger and not by the champion, with the stated confidence. PASS: all of that is ruled out. INCONCLUSIVE:
    neither. ERROR: the load was stopped because live traffic suffered, or the champion did not answer, so that there
    was no baseline. A challenger that stopped answering while the champion went on is a FAIL: its error rate says so.
    Without a champion only the SLO is judged; where there is none either, nothing can be said.
    """
    broken = tuple(finding for finding in _run(comparison) if finding.verdict is Verdict.ERROR)
    if broken:
        return LoadJudgement(Verdict.ERROR, _sentence(Verdict.ERROR, broken, comparison), broken)
    findings = [_metric(figures, comparison, max_regression) for figures in comparison.metrics]
    findings += [_promise(figures, comparison) for figures in comparison.slo]
    findings += _run(comparison) or ([] if findings else [_NOTHING_DEMANDED])
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


def _bound(value: float, shape: str) -> str:
    return format(value, shape) if math.isfinite(value) else "no bound yet"


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
        f"({change.low - 1:+.1%} to {_bound(change.high - 1, '+.1%')}), the limit is {limit - 1:+.0%}"
    )


def _more(change: Interval, limit: float, pairs: int) -> str:
    """Say how many requests would do if the figure stays where it is: an interval shrinks with the root of them."""
    distance = abs(limit - change.value)
    reach = change.high - change.value if change.value <= limit else change.value - change.low
    if not math.isfinite(reach):
        return f"{pairs:,} requests an arm are too few to bound it"
    if distance < reach / 10:
        return "it lies on the limit, so that more requests would hardly decide it"
    needed = math.ceil(pairs * (reach / distance) ** 2)
    return f"about {needed:,} requests an arm would decide it, {pairs:,} were sent"


def _promise(figures: SloFigures, comparison: Comparison) -> Finding:
    """Judge one promise. What the champion breaks as well is no fault of the challenger's: then a person decides."""
    name, shown, champion = f"slo {figures.name}", figures.challenger, figures.champion
    where = comparison.sources.get(figures.name, "the profile")
    if shown is None:
        why = f"{figures.name} has {figures.samples} samples, {PAIRS_MIN} are needed for the SLO"
        return Finding(name, Verdict.INCONCLUSIVE, why)
    told = (
        f"{figures.name} is {shown.value:.4g} ({shown.low:.4g} to {_bound(shown.high, '.4g')}), "
        f"the SLO is {figures.limit:g} ({where})"
    )
    if shown.high <= figures.limit:
        return Finding(name, Verdict.PASS, told)
    if shown.low <= figures.limit:
        return Finding(name, Verdict.INCONCLUSIVE, told)
    if champion is None or champion.high <= figures.limit or shown.low > champion.high:
        return Finding(name, Verdict.FAIL, told)
    also = f"{told}; the champion breaks it too with {champion.value:.4g}, so it is not the challenger's fault"
    return Finding(name, Verdict.INCONCLUSIVE, f"{also}: lower the profile's rate, or raise the SLO")


def _run(comparison: Comparison) -> list[Finding]:
    """Return findings about the load itself: stopped, without a baseline, given up."""
    told = f"{comparison.code}: {comparison.reason}"
    if comparison.outcome == "aborted":
        return [Finding("load", Verdict.ERROR, f"the load was stopped, {told}")]
    if comparison.champion_ok == 0:
        return [Finding("load", Verdict.ERROR, f"the champion answered nothing, so there is no baseline; {told}")]
    if comparison.outcome == "given_up":
        return [Finding("load", _given_up(comparison), f"the load was given up, {told}")]
    return []


def _given_up(comparison: Comparison) -> Verdict:
    """A target stopped answering: FAIL when the champion went on, ERROR when it fails as well or there is none."""
    *champion, challenger = comparison.rounds[-1].arms
    if not champion or challenger.error_rate is None or champion[0].error_rate is None:
        return Verdict.ERROR
    worse = challenger.error_rate > champion[0].error_rate + comparison.error_rate_margin
    return Verdict.FAIL if worse else Verdict.ERROR


def _sentence(verdict: Verdict, findings: tuple[Finding, ...], comparison: Comparison) -> str:
    sent = f"{comparison.requests:,} requests an arm in {number_of(comparison.looks, 'round')}{_left_out(comparison)}"
    if verdict is Verdict.PASS:
        alone = comparison.champion_ok is None
        kept = "the challenger keeps the SLO; there is no champion to compare with"
        both = "under the same load the challenger keeps the SLO and is not slower than allowed"
        return f"{kept if alone else both} ({sent})"
    worst = "; ".join(finding.sentence for finding in findings if finding.verdict is verdict)
    if verdict is Verdict.INCONCLUSIVE and comparison.out_of_time:
        sent += "; `max_duration_s` of the load gate leaves no time for another"
    return f"{worst} ({sent})"


def _left_out(comparison: Comparison) -> str:
    spoilt = comparison.left_out
    if not spoilt.requests:
        return ""
    return (
        f"; latencies of {spoilt.requests:,} of them, in {spoilt.seconds} s, are left out: the generator itself was up "
        f"to {spoilt.worst_ms:,.0f} ms late"
    )
