"""The diff names what moves and how dear that is; a plan is the same bytes for the same world."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.errors import SluiceError
from environments.spec import EnvironmentSpec
from reconciler.core.model.finding import Finding
from reconciler.core.model.observed import ObservedEndpoint, ObservedState
from reconciler.core.model.release import Release, release_from_json, release_to_json
from reconciler.core.model.rollout import Phase
from reconciler.core.plan.change import Action, MovesBy
from reconciler.core.plan.diff import diff
from reconciler.core.plan.plan import Plan, World, changes_of, make_plan, plan_from_json, plan_to_json, spec_digest
from reconciler.core.rollout.ideal import ideal_steps
from reconciler.core.rollout.steps import Enter, SetWeights, StartSlot
from tests.golden.test_cli_plans import spec as declared
from tests.support.builders.releases import changed, desired, endpoint, release, rollout

A, B = release("one"), release("two", prompt="p2")
SPEC = EnvironmentSpec.model_validate(
    {
        "environment": "test",
        "owner": "us",
        "store": "sqlite:///x.db",
        "regions": {"local": {"platform": "local", "gateway_port": 18080, "serve_command": ["x"]}},
        "endpoints": {"chat": {"team": "t", "runtime": "vllm", "release": {"model": "file:models/two"}}},
    }
)


def state(*endpoints: ObservedEndpoint) -> ObservedState:
    return ObservedState({e.address: e for e in endpoints})


def only(live: ObservedEndpoint, wanted: Release) -> tuple[Action, MovesBy]:
    [change] = diff(desired(wanted), state(live))
    return change.action, change.moves_by


def test_first_deployment_is_a_create_by_cold_load() -> None:
    [change] = diff(desired(B), ObservedState())
    assert (change.action, change.moves_by, change.release) == (Action.CREATE, MovesBy.COLD_LOAD, B.id)
    assert [(f.path, f.before) for f in change.fields] == [("model", None), ("prompts.system", None), ("runtime", None)]


def test_going_back_while_the_old_slot_is_warm_moves_by_weight() -> None:
    live = endpoint({"a": (A, 0.0), "b": (B, 100.0)})
    assert only(live, A) == (Action.ROLLOUT, MovesBy.WEIGHT)
    steps = ideal_steps(rollout(A, {"local": live}), {"local": live})
    assert not [s for s in steps if isinstance(s, StartSlot)], "A is warm in slot a; nothing has to be loaded"


def test_a_loaded_but_cold_slot_is_a_warm_load() -> None:
    live = endpoint({"a": (A, 0.0), "b": (B, 100.0)})
    cold = replace(live, slots={**live.slots, "a": changed(live.slots["a"], warm=False)})
    assert only(cold, A) == (Action.ROLLOUT, MovesBy.WARM_LOAD)


def test_a_dead_server_and_astray_weights_are_updates() -> None:
    live = endpoint({"a": (A, 100.0), "b": (B, 0.0)})
    dead = replace(live, slots={**live.slots, "a": changed(live.slots["a"], ready=False, problem="crashed")})
    assert only(dead, A) == (Action.UPDATE, MovesBy.COLD_LOAD)
    assert only(endpoint({"a": (A, 90.0), "b": (B, 10.0)}), A) == (Action.UPDATE, MovesBy.WEIGHT)
    assert only(live, A) == (Action.NONE, MovesBy.POINTER)


def test_an_unpublished_prompt_is_an_update_by_pointer() -> None:
    live = replace(endpoint({"a": (B, 100.0), "b": (None, 0.0)}), prompts={})
    assert only(live, B) == (Action.UPDATE, MovesBy.POINTER)


def test_what_is_no_longer_declared_is_removed() -> None:
    [change] = diff(replace(desired(A), endpoints=()), state(endpoint({"a": (A, 100.0), "b": (None, 0.0)})))
    assert change.action is Action.REMOVE


@given(
    st.text(max_size=20), st.dictionaries(st.text(min_size=1, max_size=8), st.integers() | st.booleans() | st.text())
)
def test_a_release_is_its_content(word: str, engine: dict[str, object]) -> None:
    one, two = replace(A, engine=engine), replace(A, engine=dict(reversed(list(engine.items()))))
    assert one.id == two.id
    assert release_from_json(json.loads(json.dumps(release_to_json(one)))) == one
    assert replace(one, model=replace(one.model, digest=f"sha256:{word}x")).id != one.id


def plan_of(live: ObservedState, wanted: Release, *, at: str = "2026-11-21T00:00:00.000Z") -> Plan:
    world = World(SPEC, desired(wanted), live, {})
    return make_plan(world, changes_of(world), [Finding("X-1", "warn", "test/local/chat", "m")], at)


def test_the_same_world_gives_the_same_digest_and_another_one_does_not() -> None:
    live = state(endpoint({"a": (A, 100.0), "b": (None, 0.0)}))
    one, later = plan_of(live, B), plan_of(live, B, at="2027-01-01T00:00:00.000Z")
    assert one.digest == later.digest
    assert plan_of(live, A).digest != one.digest
    assert plan_of(state(endpoint({"a": (A, 100.0), "b": (B, 0.0)})), B).digest != one.digest


def test_a_plan_survives_its_json_and_a_tampered_one_does_not() -> None:
    plan = plan_of(state(endpoint({"a": (A, 100.0), "b": (None, 0.0)})), B)
    data = json.loads(json.dumps(plan_to_json(plan)))
    assert plan_from_json(data) == plan
    for path, value in (
        (("changes", 0, "action"), "none"),
        (("findings", 0, "level"), "info"),
        (("digest",), "sha256:0"),
    ):
        bad = json.loads(json.dumps(data))
        at = bad
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        with pytest.raises(SluiceError, match="PLAN-002"):
            plan_from_json(bad)
    junks: list[object] = [{}, [], None, {"schema": "sluice/plan/v9"}, {**data, "steps": 3}]
    for junk in junks:
        with pytest.raises(SluiceError, match="PLAN-001"):
            plan_from_json(junk)


def test_the_steps_of_a_canary_read_as_it_will_run() -> None:
    plan = plan_of(state(endpoint({"a": (A, 100.0), "b": (None, 0.0)})), B)
    told = [(s.kind, s.weight_pct) for s in plan.steps if s.kind != "publish"]
    weighs = [w for k, w in told if k == "weigh"]
    assert [k for k, _ in told][:2] == ["start", "warm"]
    assert weighs == [10.0, 50.0, 100.0]
    assert [k for k, _ in told][-3:] == ["promote", "mark", "finish"]


def test_a_rollout_that_the_file_has_left_behind_is_rolled_back_first() -> None:
    live = endpoint({"a": (A, 50.0), "b": (B, 50.0)})
    third = release("three")
    going = replace(rollout(B, {"local": endpoint({"a": (A, 100.0), "b": (None, 0.0)})}), phase=Phase.PAUSED)
    going = going.with_region(replace(going.regions[0], phase=Phase.SHIFTING, step=1))
    world = World(SPEC, desired(third), state(live), {"chat": going})
    plan = make_plan(world, changes_of(world), [], "2026-11-21T00:00:00.000Z")
    assert [s.weight_pct for s in plan.steps if s.kind == "weigh"] == [0.0, 10.0, 50.0, 100.0]
    assert plan.changes[0].fields[0].path == "rollout"


def test_weights_that_somebody_left_astray_go_back_before_a_rollout_begins() -> None:
    live = {"local": endpoint({"a": (A, 90.0), "b": (B, 10.0)})}
    steps = ideal_steps(rollout(release("three"), live), live)
    weights = [dict(s.weights)["b"] for s in steps if isinstance(s, SetWeights)]
    assert weights == [0.0, 10.0, 50.0, 100.0]


def test_a_gateway_that_is_gone_is_an_update_by_weight() -> None:
    gone = replace(endpoint({"a": (A, 100.0), "b": (None, 0.0)}), gateway_problem="Envoy and its supervisor are gone")
    assert only(gone, A) == (Action.UPDATE, MovesBy.WEIGHT)
    steps = ideal_steps(rollout(B, {"local": gone}), {"local": gone})
    assert isinstance(next(s for s in steps if not isinstance(s, Enter)), SetWeights), "the gateway comes back first"


def test_who_signs_in_to_the_store_leaves_the_digest_and_which_store_it_is_does_not() -> None:
    def of(store: str) -> str:
        return spec_digest(declared().model_copy(update={"store": store}))

    base = of("postgresql+psycopg://writer:a%2Fb@db/sluice")
    assert of("postgresql+psycopg://reader@db/sluice") == base
    assert of("postgresql+psycopg://db/sluice") == base
    others = ("postgresql+psycopg://writer@other/sluice", "postgresql+psycopg://db/else", "sqlite:///sluice")
    assert len({base, *map(of, others)}) == 4
