"""From a rollout's settings to the judge's: the one place where the environment file's `judge` block is read. Pure."""

from __future__ import annotations

from reconciler.core.judge import JudgeSettings, settings_from_mapping
from reconciler.core.model.alpha import alpha_shares
from reconciler.core.model.settings import RolloutSettings


def judge_settings(settings: RolloutSettings) -> JudgeSettings:
    """Return the judge's settings: its error budget from the endpoint's `slo`, its share of the rollout's alpha."""
    # One judge looks at all regions together, so its share is the same over any number of them.
    block = {**settings.judge, "alpha": alpha_shares(settings, 1).judge}
    block["protect"] = [{k: v for k, v in row.items() if v is not None} for row in block.get("protect", [])]
    if not block["protect"]:
        del block["protect"]
    if "error_rate" in settings.slo:
        block["slo_error_rate"] = settings.slo["error_rate"]
    return settings_from_mapping(block)
