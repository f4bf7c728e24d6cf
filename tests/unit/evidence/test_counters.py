"""Counters become counts by subtraction: whatever cannot be is cut off, and a reset is no data."""

from __future__ import annotations

import pytest

from reconciler.core.model.counts import Counts, counts_of_both
from reconciler.core.model.tokens import Tokens, tokens_between, tokens_of_both
from reconciler.evidence.counters import carried, difference, joined
from reconciler.ports import SlotCounts


def slot(requests: int, errors: int = 0, rejected: int = 0, *, epoch: str = "one") -> SlotCounts:
    return SlotCounts(requests, errors, rejected, epoch=epoch)


def test_every_outcome_is_subtracted() -> None:
    assert difference(slot(10, 1, 2), slot(110, 4, 9)) == Counts(requests=100, errors=3, rejected=7)


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (slot(5, 4, 3), Counts(5, 4, 1)),
        (slot(3, 5, 2), Counts(5, 5, 0)),
        (slot(5, 0, 9), Counts(5, 0, 5)),
    ],
    ids=["a broken rejection", "read between two counters", "rejections read late"],
)
def test_no_request_has_two_outcomes_and_no_error_is_lost(after: SlotCounts, found: Counts) -> None:
    assert difference(slot(0), after) == found


HALF: dict[str, float] = {"0.5": 4, "1.0": 6, "+Inf": 8}
WHOLE: dict[str, float] = {"0.5": 14, "1.0": 16, "+Inf": 19}


def server(requests: int, errors: int, ttft_s: dict[str, float], *, epoch: str = "s1") -> SlotCounts:
    """Return what gateway and server count together; without a histogram the server could not be read."""
    tokens = Tokens(int(ttft_s["+Inf"]), 0, 0) if ttft_s else None
    return SlotCounts(requests, errors, ttft_s=ttft_s, tokens=tokens, epoch="g", server_epoch=epoch if ttft_s else "")


def test_errors_are_counted_while_the_servers_metrics_cannot_be_read() -> None:
    reads = [server(0, 0, HALF), server(10, 5, {}), server(20, 10, WHOLE), server(30, 15, {})]
    before, errors = reads[0], []
    for read in reads[1:]:
        errors.append(difference(before, read).errors)
        before = carried(before, read)
    assert errors == [5, 5, 5]


def test_what_a_server_counted_while_it_could_not_be_read_comes_with_its_next_answer() -> None:
    before = carried(server(0, 0, HALF), server(10, 0, {}))
    found = difference(before, server(20, 0, WHOLE))
    assert found == Counts(10, 0, ttft_s={"0.5": 10, "1.0": 10, "+Inf": 11}, tokens=Tokens(11, 0, 0))


def test_a_server_that_restarted_loses_its_latencies_and_no_outcome() -> None:
    found = difference(server(10, 1, WHOLE), server(30, 4, HALF, epoch="s2"))
    assert found == Counts(20, 3)
    assert difference(server(10, 1, HALF), server(30, 4, WHOLE, epoch="s2")) == Counts(20, 3)


def test_a_gateway_that_restarted_loses_its_outcomes_and_no_latency() -> None:
    restarted = SlotCounts(3, 0, ttft_s=WHOLE, epoch="another", server_epoch="s1")
    found = difference(server(10, 1, HALF), restarted)
    assert (found.requests, found.ttft_s["+Inf"]) == (0, 11)


@pytest.mark.parametrize(
    "torn",
    [{"0.5": 3, "1.0": 16, "+Inf": 19}, {"0.5": 14, "1.0": 9, "+Inf": 19}, {"0.5": 14, "1.0": 16}],
    ids=["a bucket fell", "not cumulative", "no +Inf"],
)
def test_a_histogram_that_cannot_be_subtracted_is_left_out_alone(torn: dict[str, float]) -> None:
    found = difference(server(0, 0, HALF), SlotCounts(10, 5, ttft_s=torn, itl_s=WHOLE, epoch="g", server_epoch="s1"))
    assert (found.errors, found.ttft_s, found.itl_s["+Inf"]) == (5, {}, 19)


def test_periods_are_added() -> None:
    one = Counts(1, 1, 0, ttft_s={"+Inf": 2}, answer_s={"1.0": 1, "+Inf": 1}, tokens=Tokens(1, 2, 3))
    other = Counts(3, 0, 2, answer_s={"2.0": 5, "+Inf": 5}, tokens=Tokens(10, 20, 30))
    both = counts_of_both(one, other)
    answers = {"1.0": 1.0, "2.0": 5.0, "+Inf": 6.0}
    assert both == Counts(4, 1, 2, ttft_s={"+Inf": 2}, answer_s=answers, tokens=Tokens(11, 22, 33))


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


def gateway(requests: int) -> SlotCounts:
    """Return what a gateway counts that takes a rejection for an answer."""
    return SlotCounts(requests, 0, None, epoch="g")


def rejecting(rejected: int, *, epoch: str = "s1") -> SlotCounts:
    return SlotCounts(99, 0, rejected, server_epoch=epoch, epoch=epoch)


def test_rejections_are_the_servers_where_the_gateway_does_not_tell_them() -> None:
    before, after = joined(gateway(10), rejecting(5)), joined(gateway(110), rejecting(12))
    assert difference(before, after) == Counts(100, 0, 7)


def test_rejections_of_a_server_that_was_not_read_come_with_its_next_answer() -> None:
    before = joined(gateway(10), rejecting(5))
    between = joined(gateway(20), None)
    assert difference(before, between) == Counts(10, 0, 0)
    assert difference(carried(before, between), joined(gateway(30), rejecting(9))) == Counts(10, 0, 4)


def test_rejections_of_a_server_that_restarted_are_not_known() -> None:
    assert difference(joined(gateway(10), rejecting(5)), joined(gateway(20), rejecting(3, epoch="s2"))).rejected == 0


def test_counts_that_are_put_together_are_as_old_as_the_oldest() -> None:
    old = SlotCounts(0, 0, age_s=40.0, look_at="Prometheus")
    assert [(f.age_s, f.look_at) for f in (joined(gateway(1), old), joined(old, rejecting(1)))] == [
        (40.0, "Prometheus")
    ] * 2
