"""How often a release that is no worse may be rolled back, shared out among all that can convict it. Pure.

Alpha is one budget for a rollout: over its gates, its regions, the weights of its ramp and its bake. Limits have no
share: a threshold is no test, and whoever sets one says where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.core.judge import JudgeSettings
from reconciler.core.model.settings import RolloutSettings

GATE_SHARE = 0.15
BAKE_SHARE = 0.05


@dataclass(frozen=True)
class AlphaShares:
    """What each may spend: the judge over all regions, each gate and the bake in one region."""

    judge: float
    gates: Mapping[str, float]
    bake: float


def alpha_shares(settings: RolloutSettings, regions: int) -> AlphaShares:
    """Return the shares of a rollout over so many regions; who is not asked leaves its share to the others."""
    parts = dict.fromkeys(settings.gate_names, GATE_SHARE)
    if settings.slo and settings.bake_s > 0:
        parts["bake"] = BAKE_SHARE
    parts["judge"] = 1.0 - sum(parts.values()) if settings.ladder else 0.0
    alpha = float(settings.judge.get("alpha", JudgeSettings.alpha))
    spent = sum(parts.values())
    each = {name: alpha * part / spent for name, part in parts.items()} if spent else {}
    asked = max(regions, 1)
    return AlphaShares(
        judge=each.get("judge", 0.0) or alpha,
        gates={name: each[name] / asked for name in settings.gate_names},
        bake=each.get("bake", 0.0) / asked,
    )
