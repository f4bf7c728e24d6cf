"""An endpoint's declared prices reach the rollout that needs them, and outlive its way through the store."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from reconciler.core.judge import JudgeSettings
from reconciler.core.judge_block import judge_settings
from reconciler.core.model.alpha import alpha_shares
from reconciler.core.model.settings import (
    RolloutSettings,
    TokenPrices,
    settings_from_json,
    settings_of,
    settings_to_json,
)
from tests.unit.environments.loading import BASE, load_text


def test_token_prices_are_frozen_into_the_rollout(tmp_path: Path) -> None:
    prices = "    token_prices: {input_usd_per_million: 0.5, output_usd_per_million: 1.5}\n    slo:\n"
    limit = "source: traffic\n          query: cost_usd"
    text = BASE.replace("    slo:\n", prices, 1)
    text = text.replace('source: prometheus\n          query: clicks{release="$release"}', limit, 1)
    settings = settings_of(load_text(text, tmp_path).spec.endpoints["chat"])
    assert settings.token_prices == TokenPrices(0.5, 1.5)
    assert (settings.limits[0].source, settings.limits[0].query) == ("traffic", "cost_usd")
    assert settings_from_json(settings_to_json(settings)) == settings


def test_a_rollout_that_was_stored_before_there_were_prices_has_none() -> None:
    stored = settings_to_json(RolloutSettings())
    del stored["token_prices"]
    assert settings_from_json(stored).token_prices is None
    assert settings_from_json({**stored, "token_prices": {}}).token_prices is None


def test_what_the_file_declares_is_what_the_rollout_goes_by(tmp_path: Path) -> None:
    text = BASE
    for old, new in (
        ("strategy: canary", "strategy: blue_green"), ("step_min_s: 60", "step_min_s: 61"),
        ("step_max_s: 1800", "step_max_s: 1801"), ("on_inconclusive: pause", "on_inconclusive: roll_back"),
        ("warmup_requests: 20", "warmup_requests: 21\n      start_timeout_s: 901"), ("bake_s: 900", "bake_s: 902"),
    ):  # fmt: skip
        assert text.count(old) == 1
        text = text.replace(old, new)
    declared = load_text(text, tmp_path).spec.endpoints["chat"]
    settings = settings_of(declared)
    assert replace(settings, judge={}, limits=()) == RolloutSettings(
        strategy="blue_green", steps_pct=(1.0, 10.0, 50.0), step_min_s=61, step_max_s=1801, on_inconclusive="roll_back",
        start_timeout_s=901, warmup_requests=21, bake_s=902, slo={"ttft_p95_ms": 800, "error_rate": 0.01},
        gates={"eval": {"suite": "environments/evals/chat.yaml", "max_drop": 0.02},
               "load": {"profile": "profiles/chat.yaml", "max_regression": 0.1, "max_duration_s": 600.0}},
        runtime="vllm", pool="l4",
    )  # fmt: skip
    assert settings.judge == declared.rollout.judge.model_dump(mode="json")
    assert [asdict(limit) for limit in settings.limits] == [
        limit.model_dump(mode="json") for limit in declared.rollout.limits
    ]
    assert json.loads(json.dumps(settings_to_json(settings))) == settings_to_json(settings)
    assert settings_from_json(json.loads(json.dumps(settings_to_json(settings)))) == settings


def test_the_judge_gets_its_block_its_share_of_alpha_and_the_endpoints_error_rate() -> None:
    row = {"metric": "error_rate", "ratio": 2.0, "share": None}
    how = RolloutSettings(judge={"beta": 0.05, "noise": 0.1, "tick_s": 5.0, "protect": [row]}, slo={"error_rate": 0.02})
    got = judge_settings(how)
    assert got.alpha == pytest.approx(0.0095)
    assert (got.beta, got.noise, got.slo_error_rate) == (0.05, 0.1, 0.02)
    assert [(each.metric, each.ratio) for each in got.protect] == [("error_rate", 2.0)]
    plain = judge_settings(RolloutSettings())
    assert plain == JudgeSettings(alpha=plain.alpha)
    assert judge_settings(RolloutSettings(judge={"protect": []})) == plain
    many = RolloutSettings(judge={"alpha": 0.02}, slo={"error_rate": 0.02}, gates={"eval": {"suite": "x"}})
    assert judge_settings(many).alpha == alpha_shares(many, 3).judge
