"""The canary judge: a pure function over serialisable state that bets on which arm the bad outcomes came from."""

from reconciler.core.judge.decide import Judgement, answered_within_s, judge, observe, replay, start
from reconciler.core.judge.learn import LearnedNoise, learn
from reconciler.core.judge.regions import RolloutState, judge_region, leaning, observe_region, start_rollout
from reconciler.core.judge.settings import DEFAULT_NOISE, JudgeSettings, Protect, settings_from_mapping
from reconciler.core.judge.state import JudgeState
from reconciler.core.judge.state_json import state_from_json, state_to_json
from reconciler.core.judge.tables import LENGTH_SPREAD
from reconciler.core.judge.tick_json import tick_from_json, tick_to_json
from reconciler.core.judge.ticks import ArmCounts, Fates, StartWindow, Tick

__all__ = [
    "DEFAULT_NOISE",
    "LENGTH_SPREAD",
    "ArmCounts",
    "Fates",
    "JudgeSettings",
    "JudgeState",
    "Judgement",
    "LearnedNoise",
    "Protect",
    "RolloutState",
    "StartWindow",
    "Tick",
    "answered_within_s",
    "judge",
    "judge_region",
    "leaning",
    "learn",
    "observe",
    "observe_region",
    "replay",
    "settings_from_mapping",
    "start",
    "start_rollout",
    "state_from_json",
    "state_to_json",
    "tick_from_json",
    "tick_to_json",
]
