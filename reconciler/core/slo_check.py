"""Judge an endpoint's promises (`slo`) on counts of one arm: the check of the bake, when there is no second arm. Pure.

A promise allows a share of bad requests; a percentile promise `x_p95_ms` allows 5 % above x. Evidence that more are bad
is an e-value: bets on several larger shares, mixed. While a promise is kept it is not expected to grow, so it may be
looked at as often as one likes: the promise is called broken when the evidence passes 1/alpha at any look.
Source: Ville, Étude critique de la notion de collectif (1939); Ramdas, Grünwald, Vovk and Shafer, Game-theoretic
statistics and safe anytime-valid inference, Statistical Science 38 (2023).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.core.judge import LENGTH_SPREAD
from reconciler.core.model.counts import Counts
from reconciler.core.model.verdict import Verdict, fold

SAMPLES_MIN = 20
P95_SHARE = 0.05
OPEN_SHARE = 0.05
RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_SHARE_MAX = 0.9


@dataclass(frozen=True)
class Unanswered:
    """Requests that began more than `age_s` ago, and how many of them are still `open`.

    `age_s` is twice as long as nearly all of the champion's answers take.
    """

    age_s: float
    begun: int
    open: int


@dataclass(frozen=True)
class _Promise:
    name: str
    bad: float
    total: float
    allowed: float


def check_slo(
    counts: Counts, slo: Mapping[str, float], *, alpha: float = 0.01, unanswered: Unanswered | None = None
) -> tuple[Verdict, str]:
    """Return the verdict on all promises and a sentence; without a promise PASS, without requests INCONCLUSIVE.

    `alpha` is the chance that any promise that is kept is ever called broken. With `unanswered`, that requests end is a
    promise too, which only breaks: a bake that is over before it could say anything need not wait for it.
    """
    promises = [_promise(name, limit, counts) for name, limit in sorted(slo.items())]
    if not promises:
        return Verdict.PASS, "no slo is declared"
    if unanswered is not None and unanswered.begun >= SAMPLES_MIN:
        name = f"an answer within {unanswered.age_s:g} s"
        promises.append(_Promise(name, unanswered.open, unanswered.begun, OPEN_SHARE))
    needed = math.log(len(promises) / alpha)
    verdicts = [_verdict(promise, needed) for promise in promises]
    both = sorted(zip(promises, verdicts, strict=True), key=lambda each: each[1] is not Verdict.FAIL)
    words = (_said(promise, verdict) for promise, verdict in both)
    return fold(verdicts), "; ".join(words)


def broken_evidence(bad: float, total: float, allowed: float) -> float:
    """Return the log e-value against "at most `allowed` of the requests are bad"; 0 without requests."""
    bets = []
    for ratio in RATIOS:
        share = min(ratio * allowed, allowed + (1.0 - allowed) * _SHARE_MAX)
        bets.append(bad * math.log(share / allowed) + (total - bad) * math.log((1.0 - share) / (1.0 - allowed)))
    best = max(bets)
    return best + math.log(sum(math.exp(bet - best) for bet in bets) / len(bets))


def _promise(name: str, limit: float, counts: Counts) -> _Promise:
    if name == "error_rate":
        return _Promise(name, counts.errors, counts.requests, limit)
    if name.startswith("ttft"):
        return _Promise(name, *_above(counts.ttft_s, limit / 1000.0), P95_SHARE)
    bad, total = _above(counts.itl_s, limit / 1000.0)
    gaps = _gaps_an_answer(counts)
    return _Promise(name, bad / gaps, total / gaps, P95_SHARE)


def _above(histogram: Mapping[str, float], limit_s: float) -> tuple[float, float]:
    """Return how many lie surely above the limit (above the first bound that reaches it), and how many in all."""
    total = histogram.get("+Inf", 0.0)
    within = [(float(le), count) for le, count in histogram.items() if le != "+Inf" and float(le) >= limit_s]
    return total - (min(within)[1] if within else total), total


def _gaps_an_answer(counts: Counts) -> float:
    """Return how many gaps between tokens count as one: those of an answer share its luck, and lengths differ."""
    answers = counts.tokens.answers if counts.tokens else counts.requests - counts.errors - counts.rejected
    mean = counts.itl_s.get("+Inf", 0.0) / answers if answers > 0 else 1.0
    return 1.0 + max(0.0, mean - 1.0) * LENGTH_SPREAD


def _verdict(promise: _Promise, needed: float) -> Verdict:
    if promise.total < SAMPLES_MIN:
        return Verdict.INCONCLUSIVE
    broken = broken_evidence(promise.bad, promise.total, promise.allowed) >= needed
    return Verdict.FAIL if broken else Verdict.PASS


def _said(promise: _Promise, verdict: Verdict) -> str:
    match verdict:
        case Verdict.PASS:
            return f"{promise.name} kept"
        case Verdict.INCONCLUSIVE:
            return f"{promise.name} has {promise.total:.0f} samples; the check needs {SAMPLES_MIN}"
        case _:
            share, allowed = 100 * promise.bad / promise.total, 100 * promise.allowed
            told = f"{promise.bad:.0f} of {promise.total:.0f} requests ({share:.1f} %; {allowed:g} % allowed)"
            return f"{promise.name} broken by {told}"
