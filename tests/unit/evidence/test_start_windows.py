"""Requests followed by their start: which windows belong to the bake, and what is told again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler.core.judge import Fates
from reconciler.evidence.start_windows import (
    Followed,
    Watched,
    begun_since,
    follow,
    moved,
    recalled,
    unanswered_since,
)
from reconciler.ports import Cohort

BAKE_S = 1012.0
"""When the bake began: in the window that opened at 1010."""
WATCHED = Watched("a", "b", "chat-1", "chat-2", 800.0)


def after(cohorts: Mapping[str, Sequence[Cohort]], *, weight_pct: float = 100.0, since_s: float = BAKE_S) -> Followed:
    """Return what is known once these cohorts of the champion's slot `a` and the challenger's `b` were read."""
    return follow(Followed(), cohorts, watched=WATCHED, weight_pct=weight_pct, since_s=since_s)


def cohort(began_s: float, weights: str, begun: int, **fates: Any) -> Cohort:
    return Cohort(began_s, 10.0, weights, begun, fates.pop("ended", begun), **fates)


def test_a_bake_that_is_shorter_than_a_window_has_samples() -> None:
    """The gateway counts in windows of ten seconds; a bake of two lies in one that had another weight before."""
    known = after({"a": [cohort(1010, "half", 60)], "b": [cohort(1010, "half", 50), cohort(1010, "all", 30, errors=3)]})
    assert begun_since(known, BAKE_S) == Fates(30, 30, 3)


def test_requests_of_the_step_before_are_not_the_bakes() -> None:
    known = after({"a": [cohort(1000, "half", 60)], "b": [cohort(1000, "half", 50), cohort(1010, "half", 7)]})
    assert begun_since(known, BAKE_S) == Fates(0, 0)


def test_nor_are_those_of_an_earlier_bake_that_a_pause_ended() -> None:
    known = after({"b": [cohort(900, "all", 500), cohort(1020, "all", 40)]})
    assert begun_since(known, BAKE_S) == Fates(40, 40)


def test_open_requests_are_unanswered_once_they_are_old_enough() -> None:
    known = after({"b": [cohort(1020, "all", 40, ended=10), cohort(1030, "all", 40, ended=0)]})
    found = unanswered_since(known, BAKE_S, 1065.0, 30.0)
    assert (found.begun, found.open) == (40, 30), "the second window closed 25 s ago"


def test_a_window_is_told_again_only_when_it_has_moved() -> None:
    told, known = moved(after({"b": [cohort(1020, "all", 40, ended=10)]}), 1000.0)
    assert [(each.began_s, each.weight_pct, each.challenger) for each in told] == [(20.0, 100.0, Fates(40, 10))]
    assert moved(known, 1000.0)[0] == ()
    (again,), _ = moved(
        follow(
            known,
            {"b": [cohort(1020, "all", 40, ended=40)]},
            watched=WATCHED,
            weight_pct=100.0,
            since_s=BAKE_S,
        ),
        1000.0,
    )
    assert again.challenger == Fates(40, 40)


def test_who_resumes_takes_up_what_was_told() -> None:
    told, known = moved(after({"b": [cohort(1020, "all", 40, ended=10)]}), 1000.0)
    assert recalled(told, 1000.0, Followed()).windows == known.windows


def test_a_split_is_not_named_while_another_was_in_force_in_its_newest_window() -> None:
    """Nobody could say which of the two has the weight that is asked for now."""
    mixed = after({"a": [cohort(1010, "half", 60)], "b": [cohort(1010, "all", 30)]})
    assert moved(mixed, 1000.0)[0] == ()


def test_a_weight_whose_first_try_was_too_short_to_reach_the_challenger_is_told_of_when_it_is_tried_again() -> None:
    """As after an apply that ended the moment it had set a weight: nothing was sent, but the split was not one of 0."""
    tried = after({"a": [cohort(1000, "tenth", 9)]})
    assert [window.weight_pct for window in moved(tried, 1000.0)[0]] == [0.0], "nobody can tell it from a split of 0"
    again = {"a": [cohort(1020, "tenth", 90)], "b": [cohort(1020, "tenth", 10)]}
    for since_s in (1019.0, 1024.0):  # the window lies wholly in the weight's time, and not yet
        known = follow(moved(tried, 1000.0)[1], again, watched=WATCHED, weight_pct=10.0, since_s=since_s)
        told = moved(known, 1000.0)[0]
        assert [(window.began_s, window.weight_pct) for window in told] == ([(20.0, 10.0)] if since_s < 1020 else [])


def test_a_gateway_that_tells_the_weight_of_a_split_is_believed_at_once() -> None:
    """Also where the weight has changed within the window, and where the challenger has no request of it yet."""
    told = {
        "a": [replace(cohort(1010, "old", 60), weight_pct=100.0), replace(cohort(1010, "new", 20), weight_pct=66.6667)],
        "b": [replace(cohort(1010, "new", 9), weight_pct=33.3333)],
    }
    known = after(told, weight_pct=33.333)
    assert [(each.weights, each.weight_pct) for each in moved(known, 1000.0)[0]] == [("new", 33.333), ("old", 0.0)]
    later = {"b": [replace(cohort(1010, "new", 9, ended=5), weight_pct=33.3333)]}
    again = follow(moved(known, 1000.0)[1], later, watched=WATCHED, weight_pct=50.0, since_s=1030.0)
    assert [each.weight_pct for each in moved(again, 1000.0)[0]] == [33.333], "as it was told before"


def split(began_s: float, weights: str, begun: int, weight_pct: float, **releases: str) -> Cohort:
    told = {slot: f"chat-{release}" for slot, release in releases.items()}
    return replace(cohort(began_s, weights, begun), weight_pct=weight_pct, releases=told)


def told_of(known: Followed) -> dict[str, tuple[int, int]]:
    """Return what champion and challenger began by split, as a tick tells it."""
    return {each.weights: (each.champion.begun, each.challenger.begun) for each in moved(known, 1000.0)[0]}


def test_what_another_release_answered_in_the_challengers_slot_is_not_the_challengers() -> None:
    """A bad release was rolled back; who mends it tries again within minutes, in the same window or the next."""
    bad, good = {"a": "1", "b": "0"}, {"a": "1", "b": "2"}
    cohorts = {
        "a": [
            split(600, "bad", 90, 90.0, **bad),
            split(800, "late", 90, 90.0, **bad),
            split(810, "good", 9, 90.0, **good),
        ],
        "b": [
            split(600, "bad", 10, 10.0, **bad),
            split(800, "late", 10, 10.0, **bad),
            split(810, "good", 1, 10.0, **good),
        ],
    }
    assert told_of(after(cohorts, weight_pct=10.0, since_s=811.0)) == {"good": (9, 1)}


def test_nor_is_what_the_same_release_answered_before_this_rollout() -> None:
    """It was rolled back for what has been mended beside it, or it was the champion until lately."""
    both = {"a": "1", "b": "2"}
    cohorts = {
        "a": [split(600, "tenth", 90, 90.0, **both), split(810, "tenth", 9, 90.0, **both)],
        "b": [
            split(500, "all", 99, 100.0, **both),
            split(600, "tenth", 10, 10.0, **both),
            split(810, "tenth", 1, 10.0, **both),
        ],
    }
    assert told_of(after(cohorts, weight_pct=10.0, since_s=811.0)) == {"tenth": (9, 1)}


def test_how_long_the_champion_took_is_told_by_the_champions_requests_alone() -> None:
    cohorts = {"a": [split(500, "older", 70, 100.0, a="0"), split(600, "champion", 80, 100.0, a="1")], "b": []}
    assert told_of(after(cohorts, weight_pct=10.0, since_s=811.0)) == {"champion": (80, 0)}
