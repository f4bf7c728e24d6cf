"""Verdicts fold with worst-of; nothing known is INCONCLUSIVE."""

from __future__ import annotations

import pytest

from reconciler.core.model.verdict import Verdict, fold

P, F, U, E = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.ERROR


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [([], U), ([P], P), ([P, P], P), ([P, U], U), ([U, E], E), ([E, F], F), ([F, P, U], F), ([P, E, U], E)],
)
def test_the_worst_verdict_wins(verdicts: list[Verdict], worst: Verdict) -> None:
    assert fold(verdicts) is worst
    assert fold(reversed(verdicts)) is worst
