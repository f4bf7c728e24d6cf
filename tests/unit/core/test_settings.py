"""An endpoint's declared prices reach the rollout that needs them, and outlive its way through the store."""

from __future__ import annotations

from pathlib import Path

from reconciler.core.model.settings import RolloutSettings, settings_from_json, settings_of, settings_to_json
from tests.unit.environments.loading import BASE, load_text


def test_token_prices_are_frozen_into_the_rollout(tmp_path: Path) -> None:
    prices = "    token_prices: {input_usd_per_million: 0.5, output_usd_per_million: 1.5}\n    slo:\n"
    limit = "source: traffic\n          query: cost_usd"
    text = BASE.replace("    slo:\n", prices, 1)
    text = text.replace('source: prometheus\n          query: clicks{release="$release"}', limit, 1)
    settings = settings_of(load_text(text, tmp_path).spec.endpoints["chat"])
    assert settings.token_prices == {"input_usd_per_million": 0.5, "output_usd_per_million": 1.5}
    assert (settings.limits[0]["source"], settings.limits[0]["query"]) == ("traffic", "cost_usd")
    assert settings_from_json(settings_to_json(settings)) == settings


def test_a_rollout_that_was_stored_before_there_were_prices_has_none() -> None:
    stored = settings_to_json(RolloutSettings())
    del stored["token_prices"]
    assert settings_from_json(stored).token_prices == {}
