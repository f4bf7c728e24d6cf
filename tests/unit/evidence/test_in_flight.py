"""Requests that must be open since long ago, from how many are in flight and how many have ended."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.slo_check import Unanswered
from reconciler.evidence.in_flight import InFlight
from reconciler.ports import SlotCounts


def told(*looks: tuple[float, int, int], epoch: str = "one") -> InFlight:
    """Return what is known after readings of (time, in flight, begun)."""
    found = InFlight()
    for at_s, in_flight, begun in looks:
        found.take(SlotCounts(0, 0, begun=begun, in_flight=in_flight, epoch=epoch), at_s)
    return found


def test_nothing_is_said_before_the_first_reading_is_old_enough() -> None:
    assert told((0, 5, 0), (29, 5, 0)).unanswered(29, 30) is None


def test_those_in_flight_that_did_not_begin_since_are_open() -> None:
    assert told((0, 0, 0), (10, 40, 40), (40, 160, 160)).unanswered(40, 30) == Unanswered(30, 40, 40)


def test_traffic_that_stops_leaves_nothing_open_though_nothing_begins() -> None:
    assert told((0, 0, 0), (10, 40, 400), (40, 0, 400)).unanswered(40, 30) == Unanswered(30, 400, 0)


def test_none_need_be_open_where_as_many_have_begun_since() -> None:
    assert told((0, 40, 0), (30, 40, 400)).unanswered(30, 30) == Unanswered(30, 40, 0)


def test_a_gateway_that_restarts_begins_anew_and_one_that_does_not_tell_says_nothing() -> None:
    found = told((0, 40, 9), epoch="one")
    found.take(SlotCounts(0, 0, begun=0, in_flight=1, epoch="two"), 20)
    assert found.unanswered(40, 30) is None
    silent = InFlight()
    silent.take(SlotCounts(9, 0, epoch="one"), 0)
    assert silent.unanswered(40, 30) is None


@given(st.lists(st.tuples(st.integers(0, 100), st.one_of(st.none(), st.integers(0, 100))), max_size=30))
def test_never_more_is_said_to_be_open_than_is(requests: list[tuple[int, int | None]]) -> None:
    """Of requests that begin at a second and end after some others, or never."""
    found = InFlight()
    for now in range(0, 201, 10):
        begun = sum(began <= now for began, _ in requests)
        ended = sum(lasts is not None and began + lasts <= now for began, lasts in requests)
        found.take(SlotCounts(0, 0, begun=begun, in_flight=begun - ended, epoch="one"), float(now))
        older = sum(b + 30 <= now and (lasts is None or b + lasts > now) for b, lasts in requests)
        told_ = found.unanswered(float(now), 30.0)
        assert told_ is None or told_.open <= older
