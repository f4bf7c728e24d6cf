"""Requests that must be open since long ago, from how many are in flight and how many have ended."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.model.counts import Counts
from reconciler.core.slo_check import Unanswered
from reconciler.evidence.in_flight import InFlight, OpenRequests, open_requests
from reconciler.ports import SlotCounts


def told(*looks: tuple[float, int, int], epoch: str = "one") -> InFlight:
    """Return what is known after readings of (time, in flight, begun)."""
    found = InFlight()
    for at_s, in_flight, begun in looks:
        found.take(SlotCounts(0, 0, begun=begun, in_flight=in_flight, epoch=epoch), at_s)
    return found


def test_nothing_is_said_before_the_first_reading_is_old_enough() -> None:
    assert told((0, 5, 0), (29, 5, 0)).unanswered(30) is None


def test_those_in_flight_that_did_not_begin_since_are_open() -> None:
    assert told((0, 0, 0), (10, 40, 40), (40, 160, 160)).unanswered(30) == Unanswered(30, 40, 40)


def test_traffic_that_stops_leaves_nothing_open_though_nothing_begins() -> None:
    assert told((0, 0, 0), (10, 40, 400), (40, 0, 400)).unanswered(30) == Unanswered(30, 400, 0)


def test_none_need_be_open_where_as_many_have_begun_since() -> None:
    assert told((0, 40, 0), (30, 40, 400)).unanswered(30) == Unanswered(30, 40, 0)


def test_a_gateway_that_restarts_begins_anew_and_one_that_does_not_tell_says_nothing() -> None:
    found = told((0, 40, 9), epoch="one")
    found.take(SlotCounts(0, 0, begun=0, in_flight=1, epoch="two"), 20)
    assert found.unanswered(30) is None
    silent = InFlight()
    silent.take(SlotCounts(9, 0, epoch="one"), 0)
    assert silent.unanswered(30) is None


@given(st.lists(st.tuples(st.integers(0, 100), st.one_of(st.none(), st.integers(0, 100))), max_size=30))
def test_never_more_is_said_to_be_open_than_is(requests: list[tuple[int, int | None]]) -> None:
    """Of requests that begin at a second and end after some others, or never."""
    found = InFlight()
    for now in range(0, 201, 10):
        begun = sum(began <= now for began, _ in requests)
        ended = sum(lasts is not None and began + lasts <= now for began, lasts in requests)
        found.take(SlotCounts(0, 0, begun=begun, in_flight=begun - ended, epoch="one"), float(now))
        older = sum(b + 30 <= now and (lasts is None or b + lasts > now) for b, lasts in requests)
        told_ = found.unanswered(30.0)
        assert told_ is None or told_.open <= older


def test_a_reading_that_is_old_says_nothing_of_requests_that_may_have_ended_since() -> None:
    """A Prometheus tells the same sample again, a minute old: what was in flight then was young."""
    found = told((0, 0, 0), (60, 40, 400))
    old = SlotCounts(0, 0, begun=400, in_flight=40, epoch="one", age_s=40)
    found.take(old, 100)
    assert found.unanswered(30) == Unanswered(30, 0, 0)
    assert found.with_late(Counts(5), 30) == Counts(5)


def test_a_request_that_is_open_for_too_long_has_failed_once_however_it_ends() -> None:
    found = told((0, 0, 0), (10, 40, 40), (40, 40, 40))
    assert found.with_late(Counts(5, 1), 30) == Counts(45, 41)
    found.take(SlotCounts(0, 0, begun=40, in_flight=40, epoch="one"), 50)
    assert found.with_late(Counts(5, 1), 30) == Counts(5, 1), "they are counted"
    found.take(SlotCounts(0, 0, begun=40, in_flight=10, epoch="one"), 60)
    assert found.with_late(Counts(35, 32), 30) == Counts(5, 2), "thirty of them ended, badly"
    found.take(SlotCounts(0, 0, begun=40, in_flight=0, epoch="one"), 70)
    assert found.with_late(Counts(12, 0, rejected=2), 30) == Counts(2, 0, rejected=2), "ten of them ended well"


def test_a_step_begins_without_counting_again_what_has_failed_in_the_one_before() -> None:
    found = told((0, 0, 0), (40, 20, 20), (80, 20, 20))
    assert found.with_late(Counts(), 30) == Counts(20, 20)
    found.begin()
    found.take(SlotCounts(0, 0, begun=20, in_flight=20, epoch="one"), 90)
    assert found.with_late(Counts(3), 30) == Counts(3), "nobody knows yet how old they are"
    found.take(SlotCounts(0, 0, begun=20, in_flight=20, epoch="one"), 130)
    assert found.with_late(Counts(3), 30) == Counts(3)


def test_where_nobody_knows_how_long_answers_take_nothing_is_late() -> None:
    assert told((0, 0, 0), (10, 40, 40), (400, 40, 40)).with_late(Counts(5), None) == Counts(5)


def test_as_many_open_as_the_champions_requests_explain_hold_nothing() -> None:
    champion, challenger = told((0, 216, 0), (300, 216, 5400)), told((0, 0, 0), (300, 27, 600))
    found = open_requests(champion, challenger)
    assert found == OpenRequests(27, 24.0, 600)
    assert not found.hold


def test_one_in_five_without_an_end_holds_the_weight_long_before_they_are_surely_late() -> None:
    champion, challenger = told((0, 216, 0), (60, 216, 1080)), told((0, 0, 0), (60, 24 + 24, 120))
    found = open_requests(champion, challenger)
    assert found is not None
    assert found.hold
    assert challenger.unanswered(80) is None


def test_a_handful_more_than_usual_is_chance() -> None:
    champion, challenger = told((0, 4, 0), (20, 4, 40)), told((0, 0, 0), (20, 3, 4))
    found = open_requests(champion, challenger)
    assert found is not None
    assert not found.hold


def test_answers_that_take_longer_hold_the_weight_for_ten_times_as_long_as_they_do() -> None:
    """Two requests a second that take twelve seconds more: 24 are open beyond the usual ones, a tenth of 240."""
    holds = [
        found.hold
        for at_s in (60.0, 110.0, 130.0, 600.0)
        if (
            found := open_requests(
                told((0, 216, 0), (at_s, 216, int(18 * at_s))), told((0, 0, 0), (at_s, 48, int(2 * at_s)))
            )
        )
    ]
    assert holds == [True, True, False, False]


def test_without_a_champion_or_before_it_has_had_requests_nobody_can_say() -> None:
    assert open_requests(told(), told((0, 0, 0), (60, 30, 60))) is None
    assert open_requests(told((0, 0, 0), (60, 0, 0)), told((0, 0, 0), (60, 30, 60))) is None


@given(st.integers(0, 400), st.integers(1, 400), st.integers(1, 60))
def test_requests_that_all_end_in_the_same_time_on_both_arms_never_hold(rate: int, share: int, lasts_s: int) -> None:
    """Steady traffic of whole requests a second, the challenger's since the step began."""
    looks = range(0, 301, 10)
    champion = told(*((t, rate * lasts_s, rate * t) for t in looks))
    challenger = told(*((t, share * min(t, lasts_s), share * t) for t in looks))
    found = open_requests(champion, challenger)
    assert found is None or not found.hold
