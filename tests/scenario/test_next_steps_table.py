"""The table of `next_steps.yaml`: where a rollout stands, what is live and known, and what it does next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot
from reconciler.core.model.rollout import GateResult, Intent, Phase, RegionRollout, Rollout, Trouble
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.after import overall
from reconciler.core.rollout.next_steps import Evidence, next_steps, rollback_cause
from reconciler.core.rollout.steps import (
    Enter,
    Finish,
    Pause,
    SetWeights,
    StartSlot,
    Step,
    StopSlot,
    WarmSlot,
    step_kind,
)
from tests.golden.test_environments import expect_same
from tests.support.builders.releases import SETTINGS, endpoint, release, rollout, slot

ROWS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("next_steps.yaml").read_text())
RELEASES = {word: release(word) for word in ("old", "new", "third")}
SHORT = replace(SETTINGS, start_timeout_s=30)
NOW = 1000.0


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_row(row: dict[str, Any]) -> None:
    going, seen, evidence = world(row)
    told = [words(step) for step in next_steps(going, seen, evidence, NOW)]
    assert told == [step if isinstance(step, str) else str(step) for step in row["steps"]]


def test_every_step_is_told_in_full() -> None:
    """Compare each row's steps, reasons and all, with `next_steps.txt`: a sentence is what a person has at night."""
    lines = []
    for row in ROWS:
        going, seen, evidence = world(row)
        lines += [row["name"], *(f"    {spelled(step)}" for step in next_steps(going, seen, evidence, NOW))]
    expect_same(Path(__file__).with_name("next_steps.txt"), "\n".join(lines) + "\n")


def test_a_region_of_which_nothing_is_known_is_waited_for() -> None:
    [row] = [row for row in ROWS if row["name"] == "with traffic and time the next step comes"]
    going, seen, evidence = world(row)
    assert [words(step) for step in next_steps(going, seen, evidence, NOW)] == ["enter shifting"]
    assert [words(step) for step in next_steps(going, seen, {}, NOW)] == ["await"]


def test_of_several_regions_that_failed_the_one_of_the_first_wave_speaks() -> None:
    [row] = [row for row in ROWS if row["name"] == "the region that failed says why"]
    going, _, _ = world(row)
    first = going.regions[0]
    later = replace(first, region="earliest by name", wave=1, reason="it was slow later")
    beside = replace(first, region="zone", reason="it was slow beside")
    assert rollback_cause(replace(going, regions=(later, beside, first))) == "it was slow"


def spelled(step: Step) -> str:
    """Return a step with all that it carries, releases by their words."""
    facts = " ".join(f"{name}={value!r}" for name, value in vars(step).items())
    for word, made in RELEASES.items():
        facts = facts.replace(made.id, word)
    return f"{step_kind(step)} {facts}"


def world(row: dict[str, Any]) -> tuple[Rollout, dict[str, ObservedEndpoint], dict[str, Evidence]]:
    """Return rollout, live state and evidence as the row spells them."""
    settings = replace(SHORT, **row.get("settings", {}))
    if "gate" in row:
        settings = replace(settings, gates={"eval": {"suite": "x"}})
    old = None if row.get("first") else RELEASES["old"]
    began = {"local": endpoint({"a": (old, 100.0 if old else 0.0), "b": (None, 0.0)})}
    going = rollout(RELEASES["new"], began, settings=settings)
    part = replace(
        going.regions[0],
        phase=Phase(row["phase"]),
        step=row.get("step", 0),
        since=NOW - row.get("elapsed_s", 0),
        wave=row.get("wave", 0),
        gates=_gates(row),
        slot=row.get("slot", "b"),
        unready_since=_ago(row.get("unready_s")),
        unreadable_since=_ago(row.get("unreadable_s")),
        displaced_since=_ago(row.get("displaced_s")),
        trouble=_trouble(row.get("trouble")),
        efforts=row.get("efforts", 0),
        verdict=Verdict(row["verdict"]) if "verdict" in row else None,
        reason=row.get("said", ""),
    )
    regions = (RegionRollout("first", 0, "b"), part) if row.get("wave") else (part,)
    known = row.get("evidence", {})
    requests = known.get("requests", 0)
    evidence = Evidence(
        canary=Verdict(known.get("canary", "INCONCLUSIVE")),
        canary_sentence="said the judge",
        bake=Verdict(known.get("bake", "INCONCLUSIVE")),
        bake_sentence="said the bake",
        watched_s=known.get("watched_s", 0.0),
        step_requests=requests,
        step_challenger_requests=known.get("of_challenger", requests // 10),
        looks=known.get("looks", 1),
        leaning=known.get("leaning", False),
    )
    mode, intent = row.get("mode", going.mode), Intent(row.get("intent", "none"))
    alias = {"aliased": row.get("aliased", False), "trouble": _trouble(row.get("alias_trouble"))}
    going = replace(going, regions=regions, mode=mode, intent=intent, reason=row.get("why", ""), **alias)
    going = replace(going, phase=Phase.PAUSED if row.get("paused") else overall(going))
    if row["slots"] == "unreadable":
        return going, {}, {}
    slots = {name: _slot(str(text)) for name, text in row["slots"].items()}
    seen = replace(began["local"], slots=slots, prompts={}, weight_resolution_pct=row.get("resolution_pct", 0.0))
    seen = replace(seen, pointer_problem=row.get("pointer"))
    return going, {"local": seen}, {"local": evidence}


def _ago(seconds: float | None) -> float | None:
    return None if seconds is None else NOW - seconds


def _trouble(text: str | None) -> Trouble | None:
    """Return the trouble that a row spells `EFFECT, TRIES [, final] [, in SECONDS]`: tried again now, or then."""
    if text is None:
        return None
    effect, tries, *more = (part.strip() for part in text.split(","))
    retry_at = NOW + next((float(word.removeprefix("in ")) for word in more if word.startswith("in ")), 0.0)
    for word, made in RELEASES.items():
        effect = effect.replace(f" {word}", f" {made.id}")
    return Trouble(effect, int(tries), "PLAT-010", "no answer", retryable="final" not in more, retry_at=retry_at)


def _gates(row: dict[str, Any]) -> tuple[GateResult, ...]:
    if row.get("gate", "unasked") == "unasked":
        return ()
    return (GateResult("eval", Verdict(row["gate"]), "said so", attempts=row.get("attempts", 1)),)


def _slot(text: str) -> ObservedSlot:
    name, *facts = text.split()
    if name == "empty":
        return ObservedSlot()
    problem = next((fact.removeprefix("problem=") for fact in facts if fact.startswith("problem=")), None)
    crashed = int(facts[facts.index("crashed") + 1]) if "crashed" in facts else 0
    weight = float(facts[-1]) if facts and facts[-1].replace(".", "").isdigit() and not crashed else 0.0
    return slot(
        RELEASES.get(name),
        started="started" in facts,
        ready="ready" in facts,
        warm="warm" in facts,
        weight_pct=weight,
        fatal="fatal" in facts,
        running="dead" not in facts,
        restarts=crashed,
        problem=problem,
        displaced="displaced" in facts,
    )


def words(step: Step) -> str:
    """Return a step as the table spells it."""
    match step:
        case SetWeights(weights=weights):
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
