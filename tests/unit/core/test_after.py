"""What a rollout is after a step, and which decisions no longer hold when they are about to take effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from environments.errors import SluiceError
from reconciler.core.model.rollout import GateResult, Intent, Phase, RegionRollout, Rollout, Trouble
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.after import EFFORTS_MAX, after, failed, holds, overall, retry_s, watched_again
from reconciler.core.rollout.steps import (
    Effect,
    Enter,
    Finish,
    NoteSilence,
    Pause,
    Publish,
    RunGate,
    SetAlias,
    SetWeights,
    StartSlot,
    Step,
    StopSlot,
    Transition,
    Wait,
)
from tests.support.builders.releases import SETTINGS, release

NEW = release("new")
SHIFTING = RegionRollout("east", 0, "b", phase=Phase.SHIFTING, step=1, since=5.0, reason="so far")
GOING = Rollout(
    "r-1", "test", "chat", NEW, SETTINGS, (SHIFTING, RegionRollout("west", 1, "b")), 1.0, phase=Phase.SHIFTING
)
WEIGH = SetWeights("east", (("a", 50.0), ("b", 50.0)), 50.0)
PASSED = GateResult("eval", Verdict.PASS, "better")


def trouble(effect: str, tries: int = 2) -> Trouble:
    return Trouble(effect, tries, "PLAT-010", "no answer", retryable=True, retry_at=9.0)


def with_east(**facts: object) -> Rollout:
    return GOING.with_region(replace(SHIFTING, **facts))  # type: ignore[arg-type]


ENTER, NOTE = Enter("east", Phase.BAKING), NoteSilence("east", "unready", 3.0)


@pytest.mark.parametrize(
    ("step", "happens", "still"),
    [
        (ENTER, lambda r: r, True),
        (ENTER, lambda r: r.with_region(replace(r.regions[1], phase=Phase.PREPARING)), True),
        (ENTER, lambda r: with_east(phase=Phase.GATING), False),
        (ENTER, lambda r: with_east(step=2), False),
        (ENTER, lambda r: with_east(gates=(PASSED,)), False),
        (ENTER, lambda r: with_east(reason="another"), True),
        (NOTE, lambda r: replace(r, phase=Phase.PAUSED), False),
        (Pause("east", None, "x"), lambda r: replace(r, intent=Intent.ABORT), False),
        (NOTE, lambda r: replace(r, intent=Intent.PAUSE), False),
        (NOTE, lambda r: r.with_region(replace(r.regions[1], phase=Phase.FAILED)), False),
        (NOTE, lambda r: replace(r, phase=Phase.PROMOTED), False),
        (Finish(Phase.PROMOTED, "x"), lambda r: r, True),
        (Finish(Phase.PROMOTED, "x"), lambda r: with_east(phase=Phase.BAKING), False),
        (Finish(Phase.PROMOTED, "x"), lambda r: with_east(step=9), True),
    ],
)
def test_a_decision_holds_while_what_it_was_made_from_is_so(
    step: Transition, happens: Callable[[Rollout], Rollout], still: bool
) -> None:
    assert holds(step, GOING, happens(GOING)) is still


def test_a_paused_rollouts_decision_holds_while_it_is_paused() -> None:
    parked = replace(GOING, phase=Phase.PAUSED)
    assert holds(NOTE, parked, parked)
    assert not holds(NOTE, parked, GOING)


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        (WEIGH, with_east(efforts=1, since=20.0, asked_pct=50.0)),
        (Publish("east", 50.0), with_east(efforts=1)),
        (NoteSilence("east", "unready", 7.0), with_east(unready_since=7.0)),
        (NoteSilence("east", "displaced", 7.0), with_east(displaced_since=7.0)),
        (NoteSilence("east", "champion", 7.0), with_east(champion_unready_since=7.0)),
        (NoteSilence("east", "unreadable", 7.0), with_east(unreadable_since=7.0)),
        (Pause("east", Verdict.ERROR, "ask"),
         replace(with_east(verdict=Verdict.ERROR, reason="ask"), phase=Phase.PAUSED, reason="ask")),
        (Pause("east", None, "ask"), replace(with_east(reason="ask"), phase=Phase.PAUSED, reason="ask")),
        (Finish(Phase.PROMOTED, "done"), replace(GOING, phase=Phase.PROMOTED, reason="done")),
        (Enter("east", Phase.BAKING, 0, Verdict.PASS, "fine"),
         replace(with_east(phase=Phase.BAKING, step=0, since=20.0, verdict=Verdict.PASS, reason="fine"),
                 phase=Phase.BAKING)),
        (Enter("east", Phase.SHIFTING, 2), with_east(step=2, since=20.0)),
        (SetAlias("file:models/new", ("champion",)), replace(GOING, aliased=True)),
        (SetAlias("file:models/old", ("champion",)), GOING),
        (Wait("east", "x"), GOING),
        (StopSlot("east", "b"), GOING),
    ],
    ids=lambda each: type(each).__name__,
)  # fmt: skip
def test_what_a_step_leaves(step: Step, wanted: Rollout) -> None:
    assert after(GOING, step, 20.0) == wanted


def test_a_phase_begins_without_the_troubles_of_the_last_one_and_keeps_its_verdict() -> None:
    tried = with_east(
        trouble=trouble("weigh"),
        efforts=4,
        unready_since=1.0,
        unreadable_since=1.0,
        verdict=Verdict.PASS,
        reason="fine",
    )
    begun = after(tried, Enter("east", Phase.BAKING), 20.0)
    fresh = replace(SHIFTING, phase=Phase.BAKING, step=0, since=20.0, verdict=Verdict.PASS, reason="fine")
    assert begun.region("east") == fresh
    parked = after(tried, Pause("east", None, "ask"), 20.0).region("east")
    assert (parked.verdict, parked.trouble, parked.efforts) == (Verdict.PASS, None, 0)


@pytest.mark.parametrize("intent", list(Intent))
def test_only_an_abort_outlives_a_pause_and_an_end(intent: Intent) -> None:
    wished, left = replace(GOING, intent=intent), Intent.ABORT if intent is Intent.ABORT else Intent.NONE
    assert after(wished, Pause("east", None, "x"), 2.0).intent is left
    assert after(wished, Finish(Phase.FAILED, "x"), 2.0).intent is left


def test_a_weight_begins_no_step_where_nothing_is_judged() -> None:
    for phase in (Phase.PREPARING, Phase.ROLLING_BACK):
        assert after(with_east(phase=phase), WEIGH, 20.0).region("east").since == 5.0
    assert after(with_east(phase=Phase.BAKING), WEIGH, 20.0).region("east").since == 20.0


def test_an_effect_that_worked_is_no_trouble_any_more_and_another_one_stays() -> None:
    starts = StartSlot("east", "b", NEW.id)
    for effect, key in ((starts, f"start b {NEW.id}"), (StopSlot("east", "b"), "stop b"), (WEIGH, "weigh")):
        assert after(with_east(trouble=trouble(key)), effect, 2.0).region("east").trouble is None
        assert after(with_east(trouble=trouble("mark")), effect, 2.0).region("east").trouble == trouble("mark")
    gated = after(with_east(trouble=trouble("gate:eval")), RunGate("east", "eval"), 2.0, PASSED).region("east")
    assert (gated.trouble, gated.gates) == (None, (PASSED,))
    assert after(replace(GOING, trouble=trouble("mark")), SetAlias("x", ("champion",)), 2.0).trouble is None


def test_a_split_that_never_stays_becomes_trouble() -> None:
    last = after(with_east(efforts=EFFORTS_MAX - 1), WEIGH, 20.0).region("east")
    assert (last.efforts, last.trouble) == (EFFORTS_MAX, None)
    again = after(with_east(efforts=EFFORTS_MAX + 1), WEIGH, 20.0).region("east")
    said = "the split was put in force 10 times and did not stay"
    assert again.trouble == Trouble("weigh", 2, "ROLL-007", said, retryable=True, retry_at=21.0)
    assert again.since == 20.0


def test_errors_of_a_gate_are_counted_in_a_row() -> None:
    error, other = GateResult("eval", Verdict.ERROR, "broke"), GateResult("load", Verdict.PASS, "fast")
    asked = with_east(gates=(error, other))
    again = after(asked, RunGate("east", "eval"), 2.0, error).region("east")
    assert again.gates == (other, replace(error, attempts=2))
    assert after(asked, RunGate("east", "eval"), 2.0, PASSED).region("east").gates == (other, PASSED)
    passed = with_east(gates=(PASSED,))
    assert after(passed, RunGate("east", "eval"), 2.0, error).region("east").gates == (error,)
    assert after(passed, RunGate("east", "eval"), 2.0, PASSED).region("east").gates == (PASSED,)
    silent = after(GOING, RunGate("east", "eval"), 2.0).region("east")
    assert silent.gates == (GateResult("eval", Verdict.ERROR, "the gate gave no answer"),)


def refused() -> SluiceError:
    return SluiceError("PLAT-010", what="no answer", why="w", retryable=True)


@pytest.mark.parametrize("effect", [WEIGH, StopSlot("east", "b")])
def test_an_effect_that_fails_again_waits_longer(effect: Effect) -> None:
    first = failed(GOING, effect, 20.0, error=refused())
    kept = first.region("east").trouble
    assert kept is not None
    assert kept == Trouble(kept.effect, 1, "PLAT-010", "no answer", retryable=True, retry_at=20.5)
    second = failed(first, effect, 20.0, error=refused()).region("east").trouble
    assert second == replace(kept, tries=2, retry_at=21.0)
    other = failed(first, Publish("east", 1.0), 20.0, error=refused()).region("east").trouble
    assert other is not None
    assert (other.effect, other.tries) == ("publish", 1)


def test_an_alias_that_fails_is_the_rollouts_trouble() -> None:
    first = failed(GOING, SetAlias("x", ("champion",)), 20.0, error=refused())
    assert first == replace(GOING, trouble=Trouble("mark", 1, "PLAT-010", "no answer", retryable=True, retry_at=20.5))
    again = failed(first, SetAlias("x", ("champion",)), 20.0, error=refused()).trouble
    assert again is not None
    assert again.tries == 2


def test_the_wait_doubles_up_to_half_a_minute() -> None:
    assert [retry_s(tries) for tries in (1, 2, 3, 6, 7, 99)] == [0.5, 1.0, 2.0, 16.0, 30.0, 30.0]


def test_silence_from_before_a_machine_was_known_to_be_lost_is_forgotten() -> None:
    silent = with_east(unready_since=2.0)
    lost = after(silent, NoteSilence("east", "displaced", 7.0), 7.0).region("east")
    assert (lost.unready_since, lost.displaced_since) == (None, 7.0)


def test_a_new_owner_of_a_paused_rollout_waits_anew_for_servers_of_its_champion() -> None:
    for phase in (Phase.GATING, Phase.SHIFTING):
        owned = watched_again(with_east(phase=phase, champion_unready_since=2.0), 50.0)
        assert owned.region("east").champion_unready_since is None


def test_a_new_owner_counts_no_time_in_which_nobody_watched() -> None:
    for phase, since in ((Phase.SHIFTING, 50.0), (Phase.BAKING, 50.0), (Phase.GATING, 5.0), (Phase.PROMOTED, 5.0)):
        owned = watched_again(with_east(phase=phase, unready_since=2.0, displaced_since=2.0, efforts=3), 50.0)
        taken = owned.region("east")
        judged = since == 50.0
        assert taken.since == since
        assert taken.displaced_since == (None if judged else 2.0)
        assert (taken.unready_since, taken.efforts) == ((None, 0) if judged else (2.0, 3))


@pytest.mark.parametrize(
    ("east", "west", "whole"),
    [
        ("pending", "pending", "pending"),
        ("preparing", "pending", "preparing"),
        ("baking", "gating", "gating"),
        ("baking", "shifting", "shifting"),
        ("promoted", "pending", "baking"),
        ("promoted", "promoted", "baking"),
        ("promoted", "rolled_back", "rolling_back"),
        ("failed", "shifting", "rolling_back"),
    ],
)
def test_the_region_that_is_furthest_behind_gives_the_phase(east: str, west: str, whole: str) -> None:
    phases = (replace(GOING.regions[0], phase=Phase(east)), replace(GOING.regions[1], phase=Phase(west)))
    assert overall(replace(GOING, regions=phases)) is Phase(whole)
