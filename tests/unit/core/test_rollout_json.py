"""What the rollouts table may hold: texts of errors and gates without the secrets that were in them."""

from __future__ import annotations

import json

from reconciler.core.model.rollout import GateResult, Phase, RegionRollout, Rollout, rollout_from_json, rollout_to_json
from reconciler.core.model.settings import RolloutSettings
from reconciler.core.model.verdict import Verdict
from tests.support.releases import release

SAID = "OperationalError: postgresql://sluice:p@ss@db/x refused, Authorization: Bearer abcdef123456"


def test_no_secret_reaches_the_rollouts_table() -> None:
    gate = GateResult("eval", Verdict.ERROR, SAID)
    part = RegionRollout("eu", 0, "b", reason=SAID, gates=(gate,), phase=Phase.GATING)
    rollout = Rollout("r-1", "prod", "chat", release("v1"), RolloutSettings(), (part,), 0.0, reason=SAID)
    stored = json.dumps(rollout_to_json(rollout))
    assert "p@ss" not in stored
    assert "abcdef123456" not in stored
    read = rollout_from_json(json.loads(stored))
    assert read.reason.startswith("OperationalError: postgresql://sluice:***@db/x refused")
    assert rollout_to_json(read) == json.loads(stored)
