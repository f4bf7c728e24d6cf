"""Judge an endpoint's promises (`slo`) on counts of one arm: the check of the bake, when there is no second arm. Pure.

A promise is broken when the lower confidence bound of the share of bad requests lies above the share that is allowed;
a percentile promise `x_p95_ms` allows 5 % of requests above x.
Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from reconciler.core.counts import Counts
from reconciler.core.verdict import Verdict, fold

Z_99 = 2.326
SAMPLES_MIN = 20
P95_SHARE = 0.05


def judge_promises(counts: Counts, slo: Mapping[str, float]) -> tuple[Verdict, str]:
    """Return the verdict on all promises and a sentence; without a promise PASS, without requests INCONCLUSIVE."""
    if not slo:
        return Verdict.PASS, "no slo is declared"
    verdicts, words = [], []
    for name, limit in sorted(slo.items()):
        bad, total = _bad_of(name, limit, counts)
        allowed = limit if name == "error_rate" else P95_SHARE
        verdict = _verdict(bad, total, allowed)
        verdicts.append(verdict)
        words.append(f"{name} {_said(bad, total, allowed)}" if verdict is not Verdict.PASS else f"{name} kept")
    return fold(verdicts), "; ".join(words)


def wilson_lower(bad: float, total: float, z: float = Z_99) -> float:
    """Return the lower Wilson bound of a share; 0 without observations."""
    if total <= 0:
        return 0.0
    share = bad / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, (centre - spread) / (1 + z * z / total))


def _bad_of(name: str, limit: float, counts: Counts) -> tuple[float, float]:
    if name == "error_rate":
        return counts.errors, counts.requests
    histogram = counts.ttft_s if name.startswith("ttft") else counts.itl_s
    return _above(histogram, limit / 1000.0)


def _above(histogram: Mapping[str, float], limit_s: float) -> tuple[float, float]:
    """Return how many lie surely above the limit (above the first bound that reaches it), and how many in all."""
    total = histogram.get("+Inf", 0.0)
    within = [(float(le), count) for le, count in histogram.items() if le != "+Inf" and float(le) >= limit_s]
    return total - (min(within)[1] if within else total), total


def _verdict(bad: float, total: float, allowed: float) -> Verdict:
    if total < SAMPLES_MIN:
        return Verdict.INCONCLUSIVE
    return Verdict.FAIL if wilson_lower(bad, total) > allowed else Verdict.PASS


def _said(bad: float, total: float, allowed: float) -> str:
    if total < SAMPLES_MIN:
        return f"has {total:.0f} samples; the check needs {SAMPLES_MIN}"
    return f"broken by {bad:.0f} of {total:.0f} requests ({100 * bad / total:.1f} %; {100 * allowed:g} % allowed)"
