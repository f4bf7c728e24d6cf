"""The four verdicts of a gate and how several fold into one; pure, used by the judge, the gates and the rollout.

Imports only the standard library.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """What a gate says about a challenger; missing data is INCONCLUSIVE, never PASS."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"


_WORST_FIRST = (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS)


def fold(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of `verdicts`: FAIL, then ERROR, then INCONCLUSIVE, then PASS.

    FAIL outranks ERROR because proof of harm does not wait for a broken probe. No verdict at all is INCONCLUSIVE.
    """
    found = set(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in found), Verdict.INCONCLUSIVE)
