"""What proxies count for pods' addresses becomes requests and errors by slot, while proxies and pods come and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.platforms.kubernetes.traffic import Counted, Place, Told, Totals, merged, parse


def line(what: str, route: str, value: int) -> str:
    """Return a line of a proxy's statistics, as Envoy 1.40 behind Envoy Gateway 1.9 writes it."""
    labels = f'envoy_cluster_name="httproute/{route}",envoy_endpoint_address="10.0.0.1:8000"'
    return f"envoy_cluster_endpoint_rq_{what}{{{labels}}} {value}\n"


TEXT = (
    "# TYPE envoy_cluster_endpoint_rq_total counter\n"
    + line("total", "support-prod/chat/rule/2", 89)  # one found nobody listening
    + line("success", "support-prod/chat/rule/0", 10)
    + line("error", "support-prod/chat/rule/2", 3)
    + line("success", "support-prod/chat/rule/2", 87)
    + line("success", "support-prod/chat-two/rule/0", 7)
    + line("success", "other-prod/chat/rule/0", 7)
    + line("active", "support-prod/chat/rule/0", 2)
    + line("active", "support-prod/chat/rule/2", 3)
    + 'envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/support-prod/chat/rule/2"} 1000\n'
)
SLOTS = {"1": "a", "2": "b", "3": "b"}


def counted(**by_address: tuple[int, int]) -> dict[Place, Counted]:
    return {Place("p", name.removeprefix("n")): Counted(*each) for name, each in by_address.items()}


def sums(totals: Totals, readings: dict[Place, Counted]) -> dict[str, tuple[int, int]]:
    found = totals.take("chat", SLOTS, Told(readings))
    return {slot: (c.requests, c.errors) for slot, c in found.items()}


def test_every_rule_of_the_endpoints_own_route_is_counted_and_no_other() -> None:
    assert parse(TEXT, "p", "support-prod", "chat") == {Place("p", "10.0.0.1"): Counted(100, 3, 5, 89)}


def test_what_was_counted_before_the_first_look_is_left_out() -> None:
    totals = Totals()
    assert sums(totals, counted(n1=(1000, 50))) == {"a": (0, 0), "b": (0, 0)}
    assert sums(totals, counted(n1=(1010, 51))) == {"a": (10, 1), "b": (0, 0)}


def test_a_pod_that_joins_counts_from_its_first_request_and_one_that_goes_takes_nothing_away() -> None:
    totals = Totals()
    sums(totals, counted(n1=(0, 0), n2=(0, 0)))
    assert sums(totals, counted(n1=(5, 0), n2=(5, 1), n3=(4, 0)))["b"] == (9, 1)
    assert sums(totals, counted(n1=(6, 0), n3=(5, 0)))["b"] == (10, 1)


def test_a_proxy_that_restarts_begins_again() -> None:
    totals = Totals()
    sums(totals, counted(n1=(100, 0)))
    assert sums(totals, counted(n1=(130, 2)))["a"] == (30, 2)
    assert sums(totals, counted(n1=(7, 0)))["a"] == (37, 2)


def test_proxies_are_summed_and_strangers_are_nobodys() -> None:
    totals = Totals()
    sums(totals, {})
    found = merged([{Place("p", "1"): Counted(3, 1)}, {Place("q", "1"): Counted(4, 0), Place("q", "9"): Counted(8, 8)}])
    assert sums(totals, found) == {"a": (7, 1), "b": (0, 0)}


def test_requests_in_flight_are_those_of_now_in_all_proxies_and_never_summed_over_time() -> None:
    totals, busy = Totals(), {Place(proxy, "2"): Counted(active=4) for proxy in ("p", "q")}
    for _ in range(2):
        found = totals.take("chat", SLOTS, Told(busy | {Place("p", "1"): Counted(9, 0, 0)}))
        assert {slot: counts.in_flight for slot, counts in found.items()} == {"a": 0, "b": 8}


def test_a_slot_that_no_proxy_knows_has_no_number_of_requests_in_flight_rather_than_none_of_them() -> None:
    found = Totals().take("chat", SLOTS, Told({Place("p", "1"): Counted(9, 0, 1)}))
    assert {slot: counts.in_flight for slot, counts in found.items()} == {"a": 1, "b": None}


def test_rejections_are_not_told_by_a_gateway_to_which_they_are_answers() -> None:
    assert Totals().take("chat", SLOTS, Told({}))["a"].rejected is None


def test_two_readers_count_from_epochs_of_their_own() -> None:
    """Counters of another process have another start, and no difference may be taken between them."""
    one, two = (Totals().take("chat", SLOTS, Told({}))["a"].epoch for _ in range(2))
    assert one
    assert one != two


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1))
def test_a_sum_never_falls(readings: list[tuple[int, int]]) -> None:
    totals, last = Totals(), (0, 0)
    for requests, errors in readings:
        now = sums(totals, counted(n1=(requests, min(errors, requests))))["a"]
        assert now >= last
        assert now[1] >= last[1]
        last = now
