"""The table of `next_steps.yaml`: where a rollout stands, what is live and known, and what it does next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.core.next_steps import Evidence, next_steps
from reconciler.core.observed import ObservedEndpoint, ObservedSlot
from reconciler.core.rollout import GateResult, Phase, RegionRollout, Rollout
from reconciler.core.steps import Enter, Finish, Pause, StartSlot, Step, StopSlot, WarmSlot, Weigh, step_kind
from reconciler.core.verdict import Verdict
from tests.support.releases import SETTINGS, endpoint, release, rollout

ROWS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("next_steps.yaml").read_text())
RELEASES = {word: release(word) for word in ("old", "new", "third")}
SHORT = replace(SETTINGS, start_timeout_s=30)
NOW = 1000.0


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_row(row: dict[str, Any]) -> None:
    going, seen, evidence = world(row)
    told = [words(step) for step in next_steps(going, seen, evidence, NOW)]
    assert told == [step if isinstance(step, str) else str(step) for step in row["steps"]]


def world(row: dict[str, Any]) -> tuple[Rollout, dict[str, ObservedEndpoint], dict[str, Evidence]]:
    """Return rollout, live state and evidence as the row spells them."""
    settings = replace(SHORT, gates={"eval": {"suite": "x"}}) if "gate" in row else SHORT
    began = {"local": endpoint({"a": (RELEASES["old"], 100.0), "b": (None, 0.0)})}
    going = rollout(RELEASES["new"], began, settings=settings)
    part = replace(
        going.regions[0],
        phase=Phase(row["phase"]),
        step=row.get("step", 0),
        since=NOW - row.get("elapsed_s", 0),
        wave=row.get("wave", 0),
        gates=_gates(row),
    )
    regions = (RegionRollout("first", 0, "b"), part) if row.get("wave") else (part,)
    known = row.get("evidence", {})
    requests = known.get("requests", 0)
    evidence = Evidence(
        canary=Verdict(known.get("canary", "INCONCLUSIVE")),
        bake=Verdict(known.get("bake", "INCONCLUSIVE")),
        watched_s=known.get("watched_s", 0.0),
        step_requests=requests,
        step_challenger_requests=requests // 10,
    )
    going = replace(going, regions=regions)
    if row["slots"] == "unreadable":
        return going, {}, {}
    slots = {name: _slot(str(text)) for name, text in row["slots"].items()}
    return going, {"local": replace(began["local"], slots=slots, prompts={})}, {"local": evidence}


def _gates(row: dict[str, Any]) -> tuple[GateResult, ...]:
    if row.get("gate", "unasked") == "unasked":
        return ()
    return (GateResult("eval", Verdict(row["gate"]), "said so", attempts=row.get("attempts", 1)),)


def _slot(text: str) -> ObservedSlot:
    name, *facts = text.split()
    if name == "empty":
        return ObservedSlot()
    crashed = int(facts[facts.index("crashed") + 1]) if "crashed" in facts else 0
    weight = float(facts[-1]) if facts and facts[-1].isdigit() and not crashed else 0.0
    return ObservedSlot(
        release=RELEASES[name],
        ready="ready" in facts,
        warm="warm" in facts,
        weight_pct=weight,
        fatal="fatal" in facts,
        running="dead" not in facts,
        restarts=crashed,
    )


def words(step: Step) -> str:
    """Return a step as the table spells it."""
    match step:
        case Weigh(weights=weights):
            return "weigh " + "/".join(f"{pct:g}" for _, pct in weights)
        case StartSlot(slot=slot, release=id):
            return f"start {slot} {next(word for word, r in RELEASES.items() if r.id == id)}"
        case WarmSlot(slot=slot) | StopSlot(slot=slot):
            return f"{step_kind(step)} {slot}"
        case Enter(phase=phase, verdict=verdict):
            return " ".join(["enter", str(phase), *([str(verdict)] if verdict else [])])
        case Pause(verdict=verdict):
            return f"pause {verdict}"
        case Finish(phase=phase):
            return f"finish {phase}"
        case _:
            return step_kind(step)
