"""Routes and clusters as Envoy gets them: weights exact, both clusters always named, bad weights refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.errors import SluiceError
from environments.names import SLOTS, Address
from reconciler.platforms.local import routes
from reconciler.platforms.local.routes import EndpointRoute
from reconciler.platforms.splits import PARTS, WEIGHT_RESOLUTION_PCT, check_weights, parts_of

ADDRESS = Address("test", "local", "chat")
percents = st.floats(min_value=0, max_value=100, allow_nan=False)
names = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)


def line(pct: float) -> EndpointRoute:
    return EndpointRoute({"a": 100.0 - pct, "b": pct}, {"a": "chat-1", "b": "chat-2"})


@given(st.dictionaries(names, percents, max_size=5))
def test_a_table_is_read_back_exactly(found: dict[str, float]) -> None:
    table = {name: line(pct) for name, pct in found.items()}
    assert routes.table_of(json.loads(json.dumps(routes.route_config(table)))) == table


@given(percents)
def test_whole_numbers_add_up_and_stand_for_the_weights(pct: float) -> None:
    parts = parts_of(line(pct).weights_pct)
    assert sum(parts.values()) == PARTS
    assert all(part >= 0 for part in parts.values())
    assert abs(parts["b"] - pct * PARTS / 100) <= 1


def test_every_percentage_of_two_decimals_is_the_same_at_the_gateways_resolution() -> None:
    for hundredths in range(10_001):
        pct = hundredths / 100
        parts = parts_of(line(pct).weights_pct)
        assert abs(100 * parts["b"] / PARTS - pct) < WEIGHT_RESOLUTION_PCT
        assert abs(100 * parts["a"] / PARTS - (100 - pct)) < WEIGHT_RESOLUTION_PCT


def test_weights_that_envoy_has_otherwise_are_told_as_envoy_has_them() -> None:
    response = routes.route_config({"chat": line(10)})
    route = next(r for r in response["resources"][0]["virtual_hosts"][0]["routes"] if "name" in r)
    for cluster, weight in zip(route["route"]["weighted_clusters"]["clusters"], (750_000, 250_000), strict=True):
        cluster["weight"] = weight
    assert routes.table_of(response)["chat"].weights_pct == {"a": 75.0, "b": 25.0}


def test_both_clusters_are_named_whatever_the_weights_and_slots() -> None:
    for pct in (0.0, 50.0, 100.0):
        text = json.dumps(routes.route_config({"chat": line(pct)}))
        assert text.count('"name": "chat-a"') == text.count('"name": "chat-b"') == 1
    clusters = routes.cluster_config({"chat": {"a": 20001}})["resources"]
    assert [c["name"] for c in clusters] == ["chat-a", "chat-b"]
    assert clusters[1]["load_assignment"]["endpoints"] == []


def drawn(found: EndpointRoute) -> dict[str, str]:
    """Return release → cluster of the routes that follow an application's draw."""
    routed = routes.route_config({"chat": found})["resources"][0]["virtual_hosts"][0]["routes"]
    by_release = [(r["match"]["headers"][0], r["route"]) for r in routed if "headers" in r["match"]]
    return {
        header["string_match"]["exact"]: route["cluster"]
        for header, route in by_release
        if header["name"] == "x-sluice-release"
    }


def test_a_draw_is_followed_only_to_releases_with_a_share() -> None:
    both = {"a": "chat-1", "b": "chat-2"}
    assert drawn(EndpointRoute({"a": 90.0, "b": 10.0}, both)) == {"chat-1": "chat-a", "chat-2": "chat-b"}
    assert drawn(EndpointRoute({"a": 100.0, "b": 0.0}, both)) == {"chat-1": "chat-a"}
    assert drawn(EndpointRoute({"a": 90.0, "b": 10.0}, {"a": "chat-1"})) == {"chat-1": "chat-a"}
    assert drawn(EndpointRoute({"a": 50.0, "b": 50.0}, {"a": "chat-1", "b": "chat-1"})) == {}
    assert drawn(EndpointRoute({"a": 0.0, "b": 0.0}, both)) == {}


def test_a_drawn_request_is_counted_under_the_same_weights_as_the_others() -> None:
    routed = routes.route_config({"chat": line(10)})["resources"][0]["virtual_hosts"][0]["routes"]
    noted = [r["metadata"]["filter_metadata"]["sluice"]["split"] for r in routed if "metadata" in r]
    assert noted == ["900000_100000_1_2"] * 3
    assert routes.split_name(line(10)) != routes.split_name(line(20))


@pytest.mark.parametrize("releases", [{}, {"a": "chat-4b99dda503"}, {"a": "chat-4b99dda503", "b": "chat-51819e4074"}])
def test_what_a_split_sends_where_is_told_by_its_name(releases: dict[str, str]) -> None:
    name = routes.split_name(EndpointRoute({"a": 87.5, "b": 12.5}, releases))
    assert routes.weights_in(name) == {"a": 87.5, "b": 12.5}
    assert routes.releases_in("chat", name) == releases
    assert name.replace("_", "").isalnum(), "it is a part of a statistic's name"


def test_a_name_that_an_older_sluice_gave_tells_weights_and_no_releases() -> None:
    assert routes.weights_in("900000_100000") == {"a": 90.0, "b": 10.0}
    assert routes.releases_in("chat", "900000_100000") == {}


@pytest.mark.parametrize("name", ["half", "900000", "900000_100000_1", "900000_100000_1_2_3", "a_b_1_2"])
def test_a_name_of_another_kind_tells_no_weights(name: str) -> None:
    assert routes.weights_in(name) == {}


def test_clusters_are_read_back() -> None:
    ports = {"chat": {"a": 20001, "b": 20002}, "chat-a": {"b": 20003}}
    assert routes.ports_in(json.loads(json.dumps(routes.cluster_config(ports | {"none": {}})))) == ports


def test_an_endpoint_without_weights_answers_for_itself() -> None:
    routed = json.dumps(routes.route_config({"chat": EndpointRoute()}))
    assert "no release of this endpoint serves yet" in routed
    assert routes.table_of(json.loads(routed))["chat"] == EndpointRoute()


def test_the_version_is_the_content() -> None:
    one, same, other = (routes.route_config({"chat": line(pct)}) for pct in (10.0, 10.0, 11.0))
    assert one["version_info"] == same["version_info"] != other["version_info"]


def test_no_time_limit_cuts_a_stream() -> None:
    for route in routes.route_config({"chat": line(10)})["resources"][0]["virtual_hosts"][0]["routes"][:-1]:
        assert (route["route"]["timeout"], route["route"]["idle_timeout"]) == ("0s", "0s")
        assert route["route"]["prefix_rewrite"] == "/"


@given(st.dictionaries(st.sampled_from(SLOTS), percents))
def test_only_splits_of_slots_with_servers_pass(weights: dict[str, float]) -> None:
    serving = {"a": "chat-1"}
    fine = abs(sum(weights.values()) - 100) <= 1e-6 and weights.get("b", 0) == 0
    if fine:
        check_weights(ADDRESS, weights, serving)
        return
    with pytest.raises(SluiceError) as refused:
        check_weights(ADDRESS, weights, serving)
    assert refused.value.code in ("PLAT-004", "PLAT-005")
    assert refused.value.problem.where == "test/local/chat"
    assert refused.value.problem.do
