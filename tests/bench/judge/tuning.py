"""Which thresholds serve best: the configuration that exposes the fewest requests with few enough false rollbacks."""

from __future__ import annotations

import numpy as np

from tests.bench.judge.cases import REGRESSIONS
from tests.bench.judge.measured import Results
from tests.bench.judge.peers import Thresholds
from tests.bench.judge.traffic import Array
from tests.bench.judge.work import all_thresholds

ALPHA = 0.01


def tuned(results: Results, *, ratio_family: bool, suffix: str) -> tuple[Thresholds, Array]:
    """Return the best configuration with at most 1 % false rollbacks, and its exposures [4].

    The peer is tuned on the very regressions that it is measured on: its figures flatter it.
    """
    rules = all_thresholds()
    false = results.mean_over("null, drift and bursts, flat", lambda batch: batch.fired)
    exposed = np.stack(
        [results.mean_over(f"{name}, drift, flat", lambda batch: batch.threshold_exposed) for name in REGRESSIONS]
    )
    own = np.array([results.judged(f"{name}, {suffix}").exposed.mean() for name in REGRESSIONS])
    score = (exposed / own[:, None]).mean(0)
    allowed = [i for i, rule in enumerate(rules) if rule.ratio is ratio_family and false[i] <= ALPHA]
    best = min(allowed, key=lambda i: float(score[i]))
    return rules[best], exposed[:, best]
