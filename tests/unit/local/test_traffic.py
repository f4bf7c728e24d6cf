"""Envoy's statistics as counts by slot: cohorts by window and weights, nothing that Envoy may half have forgotten."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.platforms.local import traffic
from reconciler.platforms.local.counting import MEMORY_S, WINDOW_S
from reconciler.platforms.local.routes import EndpointRoute, split_name
from reconciler.ports import Cohort

NOW = 1_795_543_280.0
WINDOW = int(NOW) // WINDOW_S


def stat(kind: str, *, cluster: str = "chat-a", window: int = WINDOW, weights: str = "900000_100000") -> str:
    return f"sluice_cohort.{kind}.cluster.{cluster}.window.{window}.weights.{weights}"


def cohorts(counters: dict[str, str], since_s: float = 0.0) -> dict[str, tuple[Cohort, ...]]:
    return traffic.cohorts_by_slot("chat", counters, since_s=since_s, now=NOW)


def test_a_cohort_is_a_window_and_its_weights() -> None:
    counters = {
        stat("begun"): "5",
        stat("ended"): "4",
        stat("errors"): "2",
        stat("rejected"): "1",
        stat("begun", weights="500000_500000"): "3",
        stat("begun", window=WINDOW - 1): "7",
    }
    began = float(WINDOW * WINDOW_S)
    assert cohorts(counters)["a"] == (
        Cohort(began - WINDOW_S, WINDOW_S, "900000_100000", begun=7, ended=0, weight_pct=90.0),
        Cohort(began, WINDOW_S, "500000_500000", begun=3, ended=0, weight_pct=50.0),
        Cohort(began, WINDOW_S, "900000_100000", begun=5, ended=4, errors=2, rejected=1, weight_pct=90.0),
    )
    assert cohorts(counters)["b"] == ()


@pytest.mark.parametrize("weights_pct", [{"a": 90.0, "b": 10.0}, {"a": 0.0, "b": 100.0}, {"a": 66.7, "b": 33.3}])
def test_a_cohort_knows_the_slots_share_of_its_split(weights_pct: dict[str, float]) -> None:
    found = cohorts({stat("begun", cluster="chat-b", weights=split_name(EndpointRoute(weights_pct))): "5"})["b"]
    assert [each.weight_pct for each in found] == [pytest.approx(weights_pct["b"])]


def test_a_split_of_a_gateway_that_names_it_otherwise_has_no_share() -> None:
    assert [each.weight_pct for each in cohorts({stat("begun", weights="half"): "5"})["a"]] == [None]


def test_a_window_that_opened_before_is_left_out() -> None:
    counters = {stat("begun"): "5", stat("begun", window=WINDOW - 1): "7"}
    assert [c.begun for c in cohorts(counters, since_s=WINDOW * WINDOW_S)["a"]] == [5]
    assert cohorts(counters, since_s=WINDOW * WINDOW_S + 0.5)["a"] == ()


def test_what_envoy_may_half_have_forgotten_is_left_out_whole() -> None:
    old = WINDOW - MEMORY_S // WINDOW_S
    counters = {stat("begun", window=old - 1): "5", stat("begun", window=old): "6"}
    assert [c.begun for c in cohorts(counters)["a"]] == [6]


def test_a_request_that_was_not_drawn_by_weight_is_in_no_cohort() -> None:
    assert cohorts({stat("begun", weights="-"): "5"})["a"] == ()


def test_other_endpoints_and_other_statistics_are_not_taken_for_these() -> None:
    others = {stat("begun", cluster="chat-a-a"): "5", stat("begun", cluster="search-a"): "5", "other.begun": "x"}
    assert cohorts(others) == {"a": (), "b": ()}


@given(st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True))
def test_the_patterns_ask_for_one_endpoint_alone(endpoint: str) -> None:
    totals, found = re.compile(traffic.totals_pattern(endpoint)), re.compile(traffic.cohorts_pattern(endpoint))
    for slot in ("a", "b"):
        assert totals.search(f"sluice.requests.cluster.{endpoint}-{slot}")
        assert found.search(stat("begun", cluster=f"{endpoint}-{slot}"))
        assert not found.search(f"sluice.requests.cluster.{endpoint}-{slot}")
        assert not totals.search(stat("begun", cluster=f"{endpoint}-{slot}"))
        for other in (f"{endpoint}-{slot}-a", f"x{endpoint}-{slot}", f"{endpoint}-c"):
            assert not totals.search(f"sluice.requests.cluster.{other}")
            assert not found.search(stat("begun", cluster=other))
