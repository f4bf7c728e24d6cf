"""Counters become counts by subtraction: whatever cannot be is cut off, and a reset is no data."""

from __future__ import annotations

import pytest

from reconciler.core.promises import Counts, judge_promises
from reconciler.core.tokens import Tokens, tokens_between, tokens_of_both
from reconciler.core.verdict import Verdict
from reconciler.counters import difference
from reconciler.ports import SlotCounts


def slot(requests: int, errors: int = 0, rejected: int = 0, *, epoch: str = "one") -> SlotCounts:
    return SlotCounts(requests, errors, rejected, epoch=epoch)


def test_every_outcome_is_subtracted() -> None:
    assert difference(slot(10, 1, 2), slot(110, 4, 9)) == Counts(requests=100, errors=3, rejected=7)


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (slot(5, 4, 3), Counts(5, 4, 1)),
        (slot(3, 5, 2), Counts(3, 3, 0)),
        (slot(5, 0, 9), Counts(5, 0, 5)),
    ],
    ids=["a broken rejection", "read between two counters", "rejections read late"],
)
def test_bad_outcomes_are_never_more_than_requests(after: SlotCounts, found: Counts) -> None:
    assert difference(slot(0), after) == found


def test_another_epoch_is_no_data() -> None:
    assert difference(slot(1, epoch="one"), slot(9, 2, 2, epoch="two")) == Counts()
    assert difference(None, slot(9, 2, 2)) == Counts()


def test_tokens_are_subtracted_with_their_answers() -> None:
    before = SlotCounts(10, 0, tokens=Tokens(10, 500, 900))
    after = SlotCounts(14, 0, tokens=Tokens(13, 650, 1200))
    assert difference(before, after).tokens == Tokens(3, 150, 300)


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, Tokens(1, 1, 1)), (Tokens(1, 1, 1), None), (Tokens(5, 9, 9), Tokens(6, 9, 8))],
    ids=["not told before", "not told now", "a count fell"],
)
def test_tokens_that_cannot_be_subtracted_are_no_data(before: Tokens | None, after: Tokens | None) -> None:
    assert tokens_between(before, after) is None


def test_a_period_without_tokens_is_left_out_of_a_sum() -> None:
    one = Tokens(1, 2, 3)
    assert tokens_of_both(one, Tokens(10, 20, 30)) == Tokens(11, 22, 33)
    assert tokens_of_both(one, None) == tokens_of_both(None, one) == one
    assert tokens_of_both(None, None) is None


def test_a_promise_is_not_broken_by_what_was_rejected() -> None:
    slo = {"error_rate": 0.01}
    assert judge_promises(Counts(1000, errors=0, rejected=500), slo)[0] is Verdict.PASS
    assert judge_promises(Counts(1000, errors=500, rejected=0), slo)[0] is Verdict.FAIL
