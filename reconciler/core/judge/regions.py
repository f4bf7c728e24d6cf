"""One judgement for a whole rollout: alpha is one budget for all its regions and all its weights.

A region passes by itself, and is then watched afresh, as the ramp goes on. A FAIL is the rollout's: it is what the
regions say together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from reconciler.core.judge import decide, mixture, weigh
from reconciler.core.judge.decide import Judgement
from reconciler.core.judge.settings import JudgeSettings
from reconciler.core.judge.state import Decision, JudgeState
from reconciler.core.judge.ticks import Tick
from reconciler.core.model.verdict import Verdict

LEANING = 0.5  # of the limit, in log: from here on no weight should rise


@dataclass(frozen=True)
class RolloutState:
    """The judge's memory of a rollout: a state and the latest PASS of each region, and where and when it failed."""

    regions: Mapping[str, JudgeState]
    passed: Mapping[str, Judgement] = field(default_factory=dict)
    failed_in: str | None = None
    failed: Decision | None = None


def start_rollout(regions: Iterable[str], settings: JudgeSettings) -> RolloutState:
    """Return the state before the first tick of any region."""
    return RolloutState({name: decide.start(settings) for name in sorted(regions)})


def observe_region(state: RolloutState, region: str, tick: Tick, settings: JudgeSettings) -> RolloutState:
    """Return the state after one more tick of a region; one that has failed stays as it is.

    Raises: JUDGE-001 to JUDGE-003 for an impossible tick.
    """
    if state.failed is not None:
        return state
    moved = decide.advance(state.regions[region], tick, settings)
    state = _with(state, region, moved)
    if joint(state, settings) >= settings.rollback_limit:
        return replace(state, failed_in=region, failed=decide.decision_of(moved, Verdict.FAIL))
    evidence = decide.weigh(moved, settings)
    if not decide.passes(moved, evidence, settings):
        return state
    stands = replace(moved, decision=decide.decision_of(moved, Verdict.PASS))
    told = decide.judged(stands, evidence, joint(state, settings), settings)
    fresh = mixture.restarted(moved.bets, evidence.present, np.ones(1, dtype=np.bool_))
    return replace(_with(state, region, replace(moved, bets=fresh)), passed={**state.passed, region: told})


def judge_region(state: RolloutState, region: str, settings: JudgeSettings) -> Judgement:
    """Return the verdict on the rollout as one region sees it: a FAIL anywhere, else its own latest PASS or state."""
    if state.failed is not None and state.failed_in is not None:
        failed = replace(state.regions[state.failed_in], decision=state.failed)
        found = decide.judged(failed, decide.weigh(failed, settings), joint(state, settings), settings)
        elsewhere = "" if state.failed_in == region else f"{state.failed_in}: "
        return replace(found, sentence=elsewhere + found.sentence)
    if region in state.passed:
        return state.passed[region]
    own = state.regions[region]
    return decide.judged(own, decide.weigh(own, settings), joint(state, settings), settings)


def joint(state: RolloutState, settings: JudgeSettings) -> float:
    """Return the log e-value of all regions together."""
    evidence = [decide.weigh(region, settings) for region in state.regions.values()]
    return float(weigh.joint_harm(evidence, settings)[0])


def leaning(state: RolloutState, settings: JudgeSettings) -> bool:
    """Say whether the evidence against the challenger has come half of the way to its limit."""
    return joint(state, settings) >= LEANING * settings.rollback_limit


def _with(state: RolloutState, region: str, moved: JudgeState) -> RolloutState:
    return replace(state, regions={**state.regions, region: moved})
