"""What a plan says of GPU memory and of surges: figures or the reason why there is none, saved and read back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from environments.names import Address
from environments.spec import EnvironmentSpec
from reconciler.core.memory.estimate import Fit
from reconciler.core.model.model_facts import facts_of
from reconciler.core.model.observed import ObservedState
from reconciler.core.model.release import Lineage, Release
from reconciler.core.plan.change import Action, Change, MovesBy
from reconciler.core.plan.memory import LoggedCache, ReleaseMemory, memory_of
from reconciler.core.plan.plan import Plan, World, changes_of, make_plan, plan_from_json, plan_to_json
from reconciler.core.plan.surge_choice import SurgeChoice, choices
from reconciler.output.capacity_text import memory_line, surge_line
from tests.support.builders.releases import desired, endpoint, release

AT = "2026-11-21T10:00:00.000Z"
CHAT = Address("test", "local", "chat")
FACTS = facts_of(
    {"num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
     "num_key_value_heads": 8, "vocab_size": 128256}, {"BF16": 16_060_522_496},
)  # fmt: skip


def model(length: int = 8192, *, known: bool = True) -> Release:
    lineage = {"model": Lineage(source="file:m", size=FACTS if known else None)}
    return replace(release("two"), engine={"max_model_len": length}, lineage=lineage)


def spec(**pool: Any) -> EnvironmentSpec:
    l4 = {"gpu": "L4", "instance": "g6.2xlarge", "gpus_per_node": 1, "vram_gib": 24, "nodes": {"min": 1, "max": 9}}
    region = {"platform": "local", "gateway_port": 18080, "serve_command": ["x"], "gpu_pools": {"l4": {**l4, **pool}}}
    chat = {
        "team": "t",
        "runtime": "vllm",
        "pool": "l4",
        "replicas": {"min": 2, "max": 2},
        "release": {"model": "file:m"},
    }
    return EnvironmentSpec.model_validate(
        {"environment": "test", "owner": "us", "store": "sqlite:///x.db", "regions": {"local": region},
         "endpoints": {"chat": chat}}
    )  # fmt: skip


def plan(made: Release, *, logged: LoggedCache | None = None, old: Release | None = None) -> Plan:
    wanted = desired(made)
    wanted = replace(wanted, endpoints=tuple(replace(e, pool="l4", gpus=2, replicas=2) for e in wanted.endpoints))
    live = endpoint({"a": (old, 100.0), "b": (None, 0.0)}) if old else None
    observed = ObservedState({CHAT: live} if live else {})
    world = World(spec(), wanted, observed, {}, logged={CHAT: logged} if logged else {})
    return make_plan(world, changes_of(world), [], AT)


def memory(made: Release, logged: LoggedCache | None = None, **pool: Any) -> ReleaseMemory:
    wanted = desired(made)
    wanted = replace(wanted, endpoints=tuple(replace(e, pool="l4", gpus=1) for e in wanted.endpoints))
    change = Change(CHAT, Action.CREATE, (), MovesBy.COLD_LOAD, made.id)
    [found] = memory_of(spec(**pool), wanted, (change,), {CHAT: logged} if logged else {})
    return found


def test_a_plan_says_what_fits_and_reads_it_back() -> None:
    made = plan(model())
    [line] = made.review.memory
    assert line["memory"]["fit"] == "fits"
    assert line["memory"]["weights_gib"] == [14.96, 14.96]
    low, high = line["memory"]["kv_cache_tokens"]
    assert 8192 < low < high
    data = json.loads(json.dumps(plan_to_json(made)))
    assert line in data["capacity"]
    assert plan_to_json(plan_from_json(data)) == data
    assert memory_line(line).startswith("test/local/chat  L4: fits; ")


def test_what_nobody_knows_is_said_and_is_not_zero() -> None:
    [line] = plan(model(known=False)).review.memory
    assert (line["memory"]["fit"], line["memory"]["kv_cache_tokens"]) == (None, None)
    assert memory_line(line).endswith("L4: [?] nothing that is read here says how large file:models/two is")


def test_what_vllm_logged_takes_the_place_of_the_estimate_and_leaves_the_digest() -> None:
    made = model(131072)
    logged = LoggedCache(made.id, "L4", 140_000, 1.07, AT)
    unsure, sure = plan(made), plan(made, logged=logged)
    assert unsure.review.memory[0]["memory"]["fit"] == "does_not_fit"
    assert sure.review.memory[0]["memory"]["fit"] == "fits"
    assert sure.review.memory[0]["memory"]["kv_cache_tokens"] == [140_000, 140_000]
    assert unsure.digest == sure.digest
    assert "(logged by vLLM, 2026-11-21)" in memory_line(sure.review.memory[0])


@pytest.mark.parametrize("other", [{"release": "chat-1"}, {"gpu": "L40S"}, {"gpu": None}])
def test_another_release_or_gpu_says_nothing(other: dict[str, Any]) -> None:
    made = model()
    logged = replace(LoggedCache(made.id, "L4", 1, 0.5, AT), **other)
    assert memory(made, logged).logged is None
    assert memory(made, logged).fit is Fit.FITS


def test_what_does_not_fit_names_what_would() -> None:
    found = memory(model(131072))
    assert found.fit is Fit.NOT
    assert any(way.startswith("engine.max_model_len up to") for way in found.ways)
    assert memory(model()).ways == ()
    assert memory(model(), vram_gib=12, gpu="X").fit is Fit.NOT


def test_only_what_is_loaded_onto_gpus_is_told() -> None:
    made = model()
    assert plan(made, old=made).review.memory == ()
    assert plan(made, old=release("one")).review.memory != ()


def test_both_surges_stand_side_by_side_with_their_worst_way_back() -> None:
    [line] = plan(model(), old=release("one")).review.surges
    told = line["surge"]
    assert told["declared"] == "follow"
    assert (told["follow"]["gpus_on_top"], told["follow"]["back_by_weight_pct"]) == (2, 100.0)
    assert (told["swap"]["gpus_on_top"], told["swap"]["back_by_weight_pct"]) == (1, 50.0)
    assert told["swap"]["back_rest_s"] == pytest.approx(60 + 16_060_522_496 / (0.3 * 2**30), abs=0.1)
    assert surge_line(line).startswith(
        "test/local/chat  follow takes 2 GPU more: all goes back by weight; instead swap"
    )
    assert plan(model()).review.surges == (), "a first deployment has nothing to go back to"


@pytest.mark.parametrize(
    ("gpus", "per", "spare", "free", "follow", "swap"),
    [
        (8, 1, 1, 8, (8, True, 100.0, 0.0), (1, True, 12.5, 700.0)),
        (8, 1, 3, 2, (8, False, 100.0, 0.0), (3, False, 37.5, 200.0)),
        (8, 4, 1, 4, (8, False, 100.0, 0.0), (4, True, 50.0, 100.0)),
        (1, 1, 1, 1, (1, True, 100.0, 0.0), (1, True, 100.0, 0.0)),
        (2, 1, 5, 2, (2, True, 100.0, 0.0), (2, True, 100.0, 0.0)),
    ],
)
def test_what_swap_saves_comes_back_slowly(
    gpus: int, per: int, spare: int, free: int, follow: tuple[Any, ...], swap: tuple[Any, ...]
) -> None:
    found = choices(gpus, per, spare, free_gpus=free, start_s=100.0)
    assert found == (SurgeChoice("follow", *follow), SurgeChoice("swap", *swap))
