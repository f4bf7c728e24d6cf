"""What the estimator says of pools that vLLM logged, against what vLLM said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.core.memory.estimate import Fit, Gpu, Memory, estimate
from reconciler.core.memory.interval import GIB
from reconciler.core.memory.layers import LayerKind, Unknown, layer_kinds, split_of
from reconciler.core.memory.pages import BLOCK_TOKENS, Use, kv_capacity
from reconciler.core.model.model_facts import facts_of

POINTS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text())
WITHIN = 0.05


def known(point: dict[str, Any], *names: str) -> bool:
    return all(not str(point[name]).startswith("[?]") for name in names)


def kinds(point: dict[str, Any]) -> tuple[LayerKind, ...] | Unknown:
    return layer_kinds(facts_of(point["config"], {}).config, point["engine"], split_of(point["engine"]))


def use(point: dict[str, Any]) -> Use:
    return Use(point["engine"]["max_model_len"], in_flight_tokens=2048)


def named(points: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("point", points, ids=[point["model"] for point in points])


def test_fourteen_points_are_published_and_what_is_missing_is_said_with_its_reason() -> None:
    assert len(POINTS) == 14
    figures = [point[name] for point in POINTS for name in ("pool_gib", "tokens", "concurrency")]
    unsaid = [figure for figure in figures if str(figure).startswith("[?]")]
    assert len(unsaid) == 7
    assert all(len(figure) > len("[?] ") for figure in unsaid)


@named([p for p in POINTS if known(p, "pool_gib", "tokens")])
def test_a_logged_pool_holds_the_tokens_that_vllm_logged(point: dict[str, Any]) -> None:
    layers = kinds(point)
    assert not isinstance(layers, Unknown)
    found = kv_capacity(point["pool_gib"] * GIB, layers, use(point))
    assert found.tokens == pytest.approx(point["tokens"], rel=WITHIN)
    assert found.concurrency == pytest.approx(point["concurrency"], rel=WITHIN)


@named([p for p in POINTS if "full_attention_interval" in p["config"]])
def test_linear_layers_are_right_to_the_token(point: dict[str, Any]) -> None:
    layers = kinds(point)
    assert not isinstance(layers, Unknown)
    assert kv_capacity(point["pool_gib"] * GIB, layers, use(point)).tokens == point["tokens"]


@named([p for p in POINTS if not known(p, "pool_gib")])
def test_without_a_pool_blocks_and_requests_agree(point: dict[str, Any]) -> None:
    layers = kinds(point)
    assert not isinstance(layers, Unknown)
    pool = point["tokens"] * sum(each.layers * each.token_bytes for each in layers)
    found = kv_capacity(pool, layers, use(point))
    assert point["tokens"] % BLOCK_TOKENS == 0
    assert found.tokens == pytest.approx(point["tokens"], rel=1e-4)
    assert found.concurrency == pytest.approx(point["concurrency"], abs=0.005)


@named([p for p in POINTS if "unknown" in p])
def test_pages_that_only_vllm_knows_are_not_guessed(point: dict[str, Any]) -> None:
    found = kinds(point)
    assert isinstance(found, Unknown)
    assert point["unknown"] in found.why


@named([p for p in POINTS if "weights_gib" in p])
def test_the_interval_of_a_whole_gpu_holds_the_logged_pool(point: dict[str, Any]) -> None:
    facts = facts_of(point["config"], {"BF16": int(point["weights_gib"] * GIB)})
    found = estimate(facts, point["engine"], Gpu(**point["gpu"]))
    assert isinstance(found, Memory)
    assert found.kv.low <= point["pool_gib"] * GIB <= found.kv.high
    assert found.tokens.low <= point["tokens"] <= found.tokens.high
    started = point["concurrency"] >= 1
    assert found.fit is not (Fit.NOT if started else Fit.FITS), "vLLM refused what holds less than one request"
