"""What the rollouts table may hold: texts of errors and gates without the secrets that were in them."""

from __future__ import annotations

import json
from typing import Any

from reconciler.core.model.rollout import (
    GateResult,
    Intent,
    Phase,
    RegionRollout,
    Rollout,
    Trouble,
    rollout_from_json,
    rollout_to_json,
)
from reconciler.core.model.settings import Limit, RolloutSettings
from reconciler.core.model.verdict import Verdict
from tests.support.builders.releases import release

LIMITED = RolloutSettings(steps_pct=(5.0,), limits=(Limit("l", "traffic", "cost_usd", max=0.1),))
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


TROUBLE = Trouble("weigh", 2, "PLAT-010", "no answer", True, 9.5)
GATE = GateResult("eval", Verdict.FAIL, "worse", attempts=2, figures={"score": 0.5}, links=("report.html",))
REGION = RegionRollout(
    "eu", 1, "b", champion_slot="a", champion=release("v0"), phase=Phase.SHIFTING, step=2, since=3.0, unready_since=4.0,
    displaced_since=4.5, champion_unready_since=4.6,
    unreadable_since=5.0, gates=(GATE,), verdict=Verdict.PASS, reason="so far", trouble=TROUBLE, efforts=6,
    spec={"platform": "local"},
)  # fmt: skip
ROLLOUT = Rollout(
    "r-1", "prod", "chat", release("v1", prompt="p"), LIMITED,
    (REGION, RegionRollout("us", 2, "a")), 1.0, phase=Phase.PAUSED, intent=Intent.ABORT, reason="by hand", actor="ada",
    mode="rollback", aliased=True, trouble=TROUBLE,
)  # fmt: skip


def test_a_rollout_survives_its_json() -> None:
    stored: dict[str, Any] = json.loads(json.dumps(rollout_to_json(ROLLOUT)))
    assert rollout_from_json(stored) == ROLLOUT
    assert {key: stored[key] for key in ("phase", "intent", "mode", "aliased", "reason", "started_at")} == {
        "phase": "paused", "intent": "abort", "mode": "rollback", "aliased": True, "reason": "by hand",
        "started_at": 1.0,
    }  # fmt: skip
    kept = {"effect": "weigh", "tries": 2, "code": "PLAT-010", "what": "no answer", "retryable": True, "retry_at": 9.5}
    assert stored["trouble"] == stored["regions"][0]["trouble"] == kept
    assert stored["regions"][0]["gates"] == [
        {"gate": "eval", "verdict": "FAIL", "sentence": "worse", "attempts": 2, "figures": {"score": 0.5},
         "links": ["report.html"]}
    ]  # fmt: skip
    assert (stored["regions"][1]["champion"], stored["regions"][1]["verdict"]) == (None, None)


def test_a_rollout_that_was_stored_before_there_was_trouble_has_none() -> None:
    stored = rollout_to_json(ROLLOUT)
    del stored["trouble"], stored["regions"][0]["trouble"]
    read = rollout_from_json(stored)
    assert (read.trouble, read.regions[0].trouble) == (None, None)
