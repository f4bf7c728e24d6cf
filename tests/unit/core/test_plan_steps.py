"""The steps of a plan, line by line: what is listed, under which id and address, in which wave, with which weight."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.names import Address
from environments.spec import EnvironmentSpec
from reconciler.core.canonical import digest
from reconciler.core.model.desired import DesiredState
from reconciler.core.model.finding import Finding
from reconciler.core.model.observed import ObservedEndpoint, ObservedState, endpoint_facts
from reconciler.core.model.release import Release, release_to_json
from reconciler.core.model.rollout import Intent, Phase, Rollout
from reconciler.core.plan.change import Action, MovesBy
from reconciler.core.plan.drift import Drift
from reconciler.core.plan.plan import (
    Plan,
    Scope,
    World,
    changes_of,
    make_plan,
    plan_from_json,
    plan_to_json,
)
from reconciler.core.plan.planned_steps import PlannedStep
from tests.support.builders.releases import SETTINGS, desired, endpoint, release, rollout

A, B, C = release("one"), release("two", prompt="p2"), release("three")
POOL = {"gpu": "L4", "instance": "g6.12xlarge", "gpus_per_node": 4, "vram_gib": 24, "nodes": {"min": 1, "max": 3}}
REGION = {"platform": "local", "gateway_port": 18080, "serve_command": ["x"], "gpu_pools": {"l4": POOL}}
SPEC = EnvironmentSpec.model_validate(
    {
        "environment": "test",
        "owner": "us",
        "store": "sqlite:///x.db",
        "regions": {"local": REGION, "west": {**REGION, "gateway_port": 18081}},
        "endpoints": {"chat": {"team": "t", "runtime": "vllm", "release": {"model": "file:m"}}},
    }
)
AT = "2026-11-21T00:00:00.000Z"
SERVING_A = endpoint({"a": (A, 100.0), "b": (None, 0.0)})


def world(wanted: DesiredState, *live: ObservedEndpoint, active: Mapping[str, Rollout] | None = None) -> World:
    return World(SPEC, wanted, ObservedState({e.address: e for e in live}), active or {})


def plan_of(of: World) -> Plan:
    return make_plan(of, changes_of(of), [], AT)


def told(plan: Plan) -> list[str]:
    """Return each step as `id address wave [weight]`."""
    return [f"{s.id} {s.address} {s.wave}" + ("" if s.weight_pct is None else f" {s.weight_pct:g}") for s in plan.steps]


def test_a_canary_over_two_waves() -> None:
    west = replace(SERVING_A, address=Address("test", "west", "chat"))
    how = replace(SETTINGS, gates={"eval": {"suite": "x"}})
    plan = plan_of(world(desired(B, regions=("local", "west"), settings=how), SERVING_A, west))
    first = [
        "chat/01-start test/local/chat 0", "chat/02-warm test/local/chat 0", "chat/03-gate:eval test/local/chat 0",
        "chat/04-weigh test/local/chat 0 10", "chat/05-publish test/local/chat 0 10",
        "chat/06-weigh test/local/chat 0 50", "chat/07-publish test/local/chat 0 50",
        "chat/08-weigh test/local/chat 0 100", "chat/09-publish test/local/chat 0 100",
        "chat/10-bake test/local/chat 0", "chat/11-promote test/local/chat 0",
    ]  # fmt: skip
    assert told(plan)[:11] == first
    assert told(plan)[11] == "chat/12-start test/west/chat 1"
    assert told(plan)[-3:] == [
        "chat/22-promote test/west/chat 1",
        "chat/23-mark test/*/chat 1",
        "chat/24-finish test/*/chat 1",
    ]
    assert plan.steps[3].to_json() == {
        "id": "chat/04-weigh", "kind": "weigh", "address": "test/local/chat", "wave": 0, "weight_pct": 10.0
    }  # fmt: skip


def test_without_a_bake_none_is_listed() -> None:
    plan = plan_of(world(desired(A, settings=replace(SETTINGS, strategy="blue_green", bake_s=0.0))))
    assert [s.kind for s in plan.steps] == ["start", "warm", "weigh", "promote", "mark", "finish"]


def test_a_removal_a_repair_and_a_rollout_stand_side_by_side() -> None:
    wanted = desired(A).endpoints + desired(replace(B, endpoint="code")).endpoints
    gone = endpoint({"a": (A, 100.0), "b": (None, 0.0)}, name="gone")
    astray = endpoint({"a": (A, 0.0), "b": (None, 0.0)}, name="chat")
    broken = replace(SERVING_A, gateway_problem="gone")
    plan = plan_of(world(DesiredState("test", wanted), gone, broken))
    assert told(plan) == [
        "gone/00-remove test/local/gone 0",
        "chat/01-weigh test/local/chat 0 100",
        "chat/02-promote test/local/chat 0",
        "chat/03-mark test/*/chat 0",
        "chat/04-finish test/*/chat 0",
        "code/01-start test/local/code 0",
        "code/02-warm test/local/code 0",
        "code/03-weigh test/local/code 0 100",
        "code/04-publish test/local/code 0 100",
        "code/05-bake test/local/code 0",
        "code/06-promote test/local/code 0",
        "code/07-mark test/*/code 0",
        "code/08-finish test/*/code 0",
    ]
    assert plan.steps[0] == PlannedStep("gone/00-remove", "remove", "test/local/gone", 0)
    assert [s.kind for s in plan_of(world(desired(A), astray)).steps][:2] == ["weigh", "bake"]
    assert plan_of(world(desired(A), SERVING_A)).steps == ()


def going(phase: Phase, step: int = 1, *, wish: Intent = Intent.NONE, paused: bool = False) -> Rollout:
    begun = rollout(B, {"local": SERVING_A})
    begun = begun.with_region(replace(begun.regions[0], phase=phase, step=step))
    return replace(begun, phase=Phase.PAUSED if paused else phase, intent=wish)


@pytest.mark.parametrize(
    "flying",
    [
        going(Phase.SHIFTING),
        going(Phase.SHIFTING, paused=True),
        going(Phase.SHIFTING, wish=Intent.PAUSE),
    ],
    ids=["going", "paused", "about to pause"],
)
def test_a_rollout_in_flight_goes_on_where_it_stands(flying: Rollout) -> None:
    half = replace(endpoint({"a": (A, 50.0), "b": (B, 50.0)}), prompts={"system": ((B.id, 50.0), (A.id, 50.0))})
    plan = plan_of(world(desired(B), half, active={"chat": flying}))
    assert told(plan) == [
        "chat/01-weigh test/local/chat 0 100",
        "chat/02-publish test/local/chat 0 100",
        "chat/03-bake test/local/chat 0",
        "chat/04-promote test/local/chat 0",
        "chat/05-mark test/*/chat 0",
        "chat/06-finish test/*/chat 0",
    ]


def test_a_paused_rollout_that_has_to_go_back_goes_back() -> None:
    back = replace(going(Phase.SHIFTING, paused=True), intent=Intent.ABORT)
    half = endpoint({"a": (A, 50.0), "b": (B, 50.0)})
    kinds = [s.kind for s in plan_of(world(desired(B), half, active={"chat": back})).steps]
    assert kinds == ["weigh", "stop", "finish"]


def test_a_rollout_that_the_file_has_left_behind_goes_back_before_the_next_begins() -> None:
    half = endpoint({"a": (A, 50.0), "b": (B, 50.0)})
    plan = plan_of(world(desired(C), half, active={"chat": going(Phase.SHIFTING)}))
    assert told(plan)[:5] == [
        "chat/01-weigh test/local/chat 0 0",
        "chat/02-stop test/local/chat 0",
        "chat/03-finish test/*/chat 0",
        "chat/04-start test/local/chat 0",
        "chat/05-warm test/local/chat 0",
    ]


@pytest.mark.parametrize(
    ("gpus", "pool", "moves_by"),
    [(2, "l4", "cold_load"), (3, "l4", "new_nodes"), (3, None, "cold_load"), (3, "gone", "cold_load")],
)
def test_a_load_that_does_not_fit_needs_new_nodes(gpus: int, pool: str | None, moves_by: str) -> None:
    [each] = desired(B).endpoints
    wanted = DesiredState("test", (replace(each, gpus=gpus, pool=pool),))
    [change] = changes_of(world(wanted, SERVING_A))
    assert (change.action, change.moves_by) == (Action.ROLLOUT, MovesBy(moves_by))
    warm = endpoint({"a": (A, 100.0), "b": (B, 0.0)})
    assert changes_of(world(wanted, warm))[0].moves_by is MovesBy.WEIGHT


def full() -> Plan:
    state = ObservedState({SERVING_A.address: SERVING_A})
    of = World(
        SPEC, desired(B), state, {}, drift=(Drift("b", "y", None, "2"), Drift("a", "x", "1", None)),
        gaps=("z is missing", "a is missing"), scope=Scope(("chat",), ("local",)),
        gate_digests={"chat/eval": "sha256:1"},
    )  # fmt: skip
    findings = [Finding("X-2", "warn", "test/local/chat", "m"), Finding("X-1", "deny", "test/local/chat", "no")]
    return make_plan(of, changes_of(of), findings, AT)


def test_a_plan_holds_all_that_it_was_made_from_sorted() -> None:
    plan = full()
    assert (plan.environment, plan.created_at, plan.scope) == ("test", AT, Scope(("chat",), ("local",)))
    assert [f.policy for f in plan.findings] == ["X-1", "X-2"]
    assert [f.policy for f in plan.denied] == ["X-1"]
    assert [d.address for d in plan.drift] == ["a", "b"]
    assert plan.gaps == ("a is missing", "z is missing")
    assert plan.basis.gate_digests == {"chat/eval": "sha256:1"}
    assert plan.basis.observed == (endpoint_facts(SERVING_A),)
    assert plan.basis.observed_fingerprint == ObservedState({SERVING_A.address: SERVING_A}).fingerprint()
    assert plan.basis.spec_digest == digest(SPEC.model_dump(mode="json"))
    assert plan.basis.releases == (release_to_json(B),)
    assert plan.pending == plan.changes
    quiet = plan_of(world(desired(A), SERVING_A))
    assert (len(quiet.changes), quiet.pending) == (1, ())


def test_the_words_of_a_saved_plan_are_the_contracts() -> None:
    data = plan_to_json(full())
    assert list(data) == [
        "schema", "environment", "created_at", "observed_fingerprint", "spec_digest", "gate_digests", "scope",
        "changes", "steps", "findings", "capacity", "cost", "drift", "observed", "releases", "gaps", "digest",
    ]  # fmt: skip
    assert data["schema"] == "sluice/plan/v1"
    assert data["scope"] == {"endpoints": ["chat"], "regions": ["local"]}
    assert data["findings"][0] == {"policy": "X-1", "level": "deny", "address": "test/local/chat", "message": "no"}
    assert plan_from_json(json.loads(json.dumps(data))) == full()


def refused(data: Any) -> list[str]:
    with pytest.raises(SluiceError) as caught:
        plan_from_json(data)
    return caught.value.problem.render().splitlines()


def test_what_is_no_plan_says_why_and_what_to_do() -> None:
    what, do = "  what: this file is not a plan that can run", "  do:   sluice plan ENV -o plan.json"
    why = "  why:  it cannot be read as sluice/plan/v1: "
    assert refused({"schema": "v9"}) == ["PLAN-001", what, f"{why}ValueError schema is v9", do]
    assert refused([1]) == ["PLAN-001", what, f"{why}ValueError schema is list", do]
    short = plan_to_json(full())
    del short["gaps"]
    assert refused(short) == ["PLAN-001", what, f"{why}KeyError 'gaps'", do]


def test_a_plan_that_was_changed_says_what_its_digest_is() -> None:
    data = plan_to_json(full())
    made = data["digest"]
    data["digest"] = "sha256:0"
    assert refused(data) == [
        "PLAN-002  plan of test",
        f"  what: its content hashes to {made}, it says sha256:0",
        "  why:  a plan is approved by its digest, so a changed plan was approved by nobody",
        "  do:   make a new one: sluice plan -o plan.json",
    ]


def test_releases_are_sorted_by_their_ids() -> None:
    other: Release = replace(A, endpoint="code")
    wanted = DesiredState("test", desired(B).endpoints + desired(other).endpoints)
    assert [r["id"] for r in plan_of(world(wanted)).basis.releases] == sorted([B.id, other.id])
