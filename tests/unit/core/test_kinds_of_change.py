"""What each kind of change needs: what moves it, how long, how many GPUs on top, and what that costs once.

Two replicas of one GPU on machines of one USD an hour. A cold start takes 180 s (nothing says how large the weights
are), a warm-up 10 s, steps 2 × 600 s, the bake 1,800 s, and the old slot stays warm for an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from environments.names import Address
from environments.prices import Price, PriceBook
from environments.spec import EnvironmentSpec
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.model.observed import ObservedEndpoint, ObservedState
from reconciler.core.model.release import Artifact, Release
from reconciler.core.plan.plan import Plan, World, changes_of, make_plan
from reconciler.core.plan.retire import KeptSlot
from tests.support.builders.releases import SETTINGS, changed, endpoint, release, slot

CHAT = Address("test", "local", "chat")
BOOK = PriceBook((Price("ec2", "us-east-1", "g6.2xlarge", 1.0, "2026-01-21", "s"),), {"s": "made up"})
HOW = replace(
    SETTINGS, steps_pct=(25.0, 50.0), step_min_s=600, step_max_s=1200, bake_s=1800, warmup_requests=20, slo={}
)
OLD = release("one", prompt="p1")
COLD, STEPS, BAKE = 180 + 10, 1200, 1800


def spec(nodes: int) -> EnvironmentSpec:
    l4 = {"gpu": "L4", "instance": "g6.2xlarge", "gpus_per_node": 1, "vram_gib": 24, "nodes": {"min": nodes, "max": 9}}
    region = {"platform": "local", "gateway_port": 18080, "serve_command": ["x"], "gpu_pools": {"l4": l4}}
    chat = {
        "team": "t", "runtime": "vllm", "pool": "l4", "replicas": {"min": 2, "max": 2}, "release": {"model": "file:m"},
    }  # fmt: skip
    return EnvironmentSpec.model_validate(
        {"environment": "test", "owner": "us", "store": "sqlite:///x.db", "regions": {"local": region},
         "endpoints": {"chat": chat}}
    )  # fmt: skip


def serving(**slots: Any) -> ObservedEndpoint:
    """Return the endpoint with the old release in slot `a` at 100 %, and `b` as it is given."""
    seen = endpoint({"a": (OLD, 100.0), "b": (None, 0.0)})
    return replace(seen, slots={**seen.slots, **slots})


def plan(wanted: Release | None, seen: ObservedEndpoint | None, nodes: int, retiring: bool = False) -> Plan:
    each = [DesiredEndpoint(CHAT, 0, wanted, HOW, "t", "l4", 2, 2)] if wanted else []
    due: Mapping[Address, KeptSlot] = {CHAT: KeptSlot(CHAT, "b", "chat-old", 0.0)} if retiring else {}
    world = World(
        spec(nodes), DesiredState("test", tuple(each)), ObservedState({CHAT: seen} if seen else {}), {},
        retiring=due, kept=tuple(due.values()), prices=BOOK,
    )  # fmt: skip
    return make_plan(world, changes_of(world), [], "2026-11-30T00:00:00.000Z")


@dataclass(frozen=True)
class Kind:
    """One kind of change. `nodes` run always; `once` are the USD of the rollout and of the slot kept warm after it."""

    name: str
    action: str
    moves_by: str
    ideal_s: float
    gpus: int
    once: tuple[float, float]
    wanted: Release | None = OLD
    seen: Callable[[], ObservedEndpoint | None] = serving
    nodes: int = 4
    retiring: bool = False


def dead() -> ObservedEndpoint:
    return serving(a=slot(OLD, running=False, weight_pct=100.0))


def beside(*, warm: bool) -> Callable[[], ObservedEndpoint]:
    return lambda: serving(b=slot(release("two"), ready=True, warm=warm))


def adrift() -> ObservedEndpoint:
    seen = serving()
    return replace(
        seen, slots={"a": changed(seen.slots["a"], weight_pct=90.0), "b": changed(seen.slots["b"], weight_pct=10.0)}
    )


def unpublished() -> ObservedEndpoint:
    return replace(serving(), prompts={})


MODEL = replace(OLD, model=Artifact("file:models/two", "sha256:two"))
ADAPTER = replace(OLD, adapters={"acme": Artifact("file:acme", "sha256:acme")})
PROMPT = release("one", prompt="p2")
ENGINE = replace(OLD, engine={"max_num_seqs": 8})
INDEX = replace(OLD, index={"ref": "file:kb", "digest": "sha256:kb"})
GUARDRAILS = replace(OLD, guardrails=Artifact("file:g", "sha256:g"))
ROLL = COLD + STEPS + BAKE

KINDS = (
    Kind("a first deployment", "create", "cold_load", COLD + BAKE, 0, (0.0, 0.0), seen=lambda: None),
    Kind("another model", "rollout", "cold_load", ROLL, 2, (0.0, 0.0), MODEL),
    Kind("an adapter", "rollout", "cold_load", ROLL, 2, (0.0, 0.0), ADAPTER),
    Kind("a prompt", "rollout", "cold_load", ROLL, 2, (0.0, 0.0), PROMPT),
    Kind("an engine argument", "rollout", "cold_load", ROLL, 2, (0.0, 0.0), ENGINE),
    Kind("an index", "rollout", "cold_load", ROLL, 2, (0.0, 0.0), INDEX),
    Kind("guardrails", "rollout", "cold_load", ROLL, 2, (0.0, 0.0), GUARDRAILS),
    # One machine more through nodes, start, warm-up and both steps, two through the bake: 1,630 + 2 × 1,800 s.
    Kind("a model where machines come first", "rollout", "new_nodes", 240 + ROLL, 2, (1.45, 2.0), MODEL, nodes=2),
    Kind("a release that is there and cold", "rollout", "warm_load", 10 + STEPS + BAKE, 2, (1.34, 2.0),
         release("two"), beside(warm=False), nodes=2),
    Kind("a release that is warm", "rollout", "weight", STEPS + BAKE, 0, (0.0, 0.0), release("two"), beside(warm=True)),
    Kind("weights that drifted", "update", "weight", 0, 0, (0.0, 0.0), seen=adrift),
    Kind("prompts that drifted", "update", "pointer", 0, 0, (0.0, 0.0), seen=unpublished),
    Kind("a server that died", "update", "cold_load", COLD, 0, (0.0, 0.0), seen=dead),
    Kind("a slot whose warm time is over", "update", "retire", 0, 0, (0.0, 0.0), seen=beside(warm=True), retiring=True),
    Kind("an endpoint that is gone from the file", "remove", "weight", 0, 0, (0.0, 0.0), wanted=None),
    Kind("nothing", "none", "pointer", 0, 0, (0.0, 0.0)),
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "-"))
def test_what_it_needs(kind: Kind) -> None:
    made = plan(kind.wanted, kind.seen(), kind.nodes, kind.retiring)
    [change] = made.changes
    assert (str(change.action), str(change.moves_by)) == (kind.action, kind.moves_by)
    assert sum(need["gpus_surge"] for need in made.review.pools) == kind.gpus
    rollouts = made.review.cost["rollouts"]
    assert sum(each["ideal_s"] for each in rollouts) == kind.ideal_s
    assert sum(each["surge_usd"] for each in rollouts) == kind.once[0]
    assert sum(each["warm_usd"] for each in rollouts) == kind.once[1]


def test_every_way_of_moving_has_its_kind() -> None:
    assert {kind.moves_by for kind in KINDS} == {"pointer", "weight", "warm_load", "cold_load", "new_nodes", "retire"}
    assert len(KINDS) >= 12
