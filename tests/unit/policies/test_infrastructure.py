"""Every infrastructure policy finds its violation, leaves good resources alone, and survives whatever it is given."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.catalog import CATALOG, find_policy
from policies.policy import OnPlan, OnResource, Resource, StackContext
from policies.resources import check_resources, hits
from policies.values import UNKNOWN
from tests.unit.policies.fixtures import TABLE, context, resources, shipped

INFRASTRUCTURE = [policy for policy in CATALOG if policy.subject == "infrastructure"]
each = pytest.mark.parametrize("policy_id", sorted(TABLE))


def test_every_infrastructure_policy_has_a_row() -> None:
    assert sorted(TABLE) == [policy.id for policy in INFRASTRUCTURE]
    assert len(TABLE) >= 60


@each
def test_it_refuses_the_violation_in_production(policy_id: str) -> None:
    found = [f for f in check_resources(resources(TABLE[policy_id]["bad"]), context()) if f.policy == policy_id]
    assert found, f"{policy_id} finds nothing"
    assert all(f.level == "deny" for f in found)
    assert any(TABLE[policy_id]["says"] in f.message for f in found), found


@each
def test_it_leaves_good_resources_alone(policy_id: str) -> None:
    assert list(hits(find_policy(policy_id), resources(TABLE[policy_id]["good"]), context())) == []


@each
def test_what_is_not_known_yet_is_no_violation(policy_id: str) -> None:
    def unknown(value: Any) -> Any:
        return {key: unknown(v) for key, v in value.items()} if isinstance(value, dict) else UNKNOWN

    rule = find_policy(policy_id).rule
    good = resources(TABLE[policy_id]["good"])
    rows = [Resource(r.type, r.name, unknown(r.props), r.urn, r.depends_on) for r in good]
    if isinstance(rule, OnResource):
        assert list(hits(find_policy(policy_id), rows, context())) == []


@pytest.mark.parametrize("policy_id", ["MON-001", "NET-003", "K8S-009"])
def test_a_preview_before_there_is_a_cluster_refuses_nothing(policy_id: str) -> None:
    row = resources(TABLE[policy_id]["bad"])
    cluster = Resource("aws:eks/cluster:Cluster", "c", {"name": "c"})
    unseen = [Resource(r.type, r.name, {}, r.urn, r.depends_on) for r in row]
    assert list(hits(find_policy(policy_id), [cluster, *unseen], context())) == []


properties = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just(UNKNOWN) | st.just("*"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)


def mangled(value: Any, path: tuple[int, ...], new: Any) -> Any:
    """Return a copy of nested data with one inner value, chosen by `path`, replaced."""
    if not path or not isinstance(value, dict | list) or not value:
        return new
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    chosen = keys[path[0] % len(keys)]
    copy = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    copy[chosen] = mangled(value[chosen], path[1:], new)
    return copy if isinstance(value, dict) else list(copy.values())


PROD: StackContext = context()


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(TABLE)), st.lists(st.integers(0, 5), min_size=1, max_size=7), properties)
def test_no_property_breaks_a_rule(policy_id: str, path: list[int], new: Any) -> None:
    for side in ("bad", "good"):
        rows = [
            Resource(r.type, r.name, mangled(r.props, tuple(path), new), r.urn, r.depends_on)
            for r in resources(TABLE[policy_id][side])
            if isinstance(mangled(r.props, tuple(path), new), dict)
        ]
        for _, message in hits(find_policy(policy_id), rows, PROD):
            assert message


def test_levels_follow_the_environment() -> None:
    bad = resources(TABLE["EKS-001"]["bad"])
    levels = {
        name: {f.policy: f.level for f in check_resources(bad, context(name))} for name in ("dev", "staging", "prod")
    }
    assert [levels[name]["EKS-001"] for name in ("dev", "staging", "prod")] == ["info", "warn", "deny"]


def test_an_override_changes_the_level() -> None:
    spec = shipped("prod")
    softer = spec.model_validate({**spec.model_dump(mode="python"), "policies": {"EKS-001": "off", "EKS-004": "info"}})
    found = {f.policy: f.level for f in check_resources(resources(TABLE["EKS-001"]["bad"]), StackContext(softer))}
    assert "EKS-001" not in found
    assert found["EKS-004"] == "info"


def test_every_way_past_the_cache_is_found_and_without_a_cache_there_is_none() -> None:
    row, policy = resources(TABLE["K8S-013"]["bad"]), find_policy("K8S-013")
    assert {urn for urn, _ in hits(policy, row, context("prod"))} == {resource.urn for resource in row}
    assert list(hits(policy, row, context("dev"))) == []


def test_every_policy_speaks_to_a_person() -> None:
    for policy in CATALOG:
        assert len({policy.title, policy.why, policy.fix}) == 3
        assert all(text and not text.endswith(".") for text in (policy.title, policy.why, policy.fix))
        assert set(policy.levels) == {"dev", "staging", "prod", "other"}
        assert set(policy.levels.values()) <= {"deny", "warn", "info", "off"}
        assert isinstance(policy.rule, OnPlan) == (policy.subject == "plan")


def test_ids_are_unique_and_sorted() -> None:
    ids = [policy.id for policy in CATALOG]
    assert ids == sorted(set(ids))
