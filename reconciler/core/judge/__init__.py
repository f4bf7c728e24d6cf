"""The canary judge: a pure function over serialisable state that bets on which arm the bad outcomes came from."""

from reconciler.core.judge.decide import Judgement, judge, observe, replay, start
from reconciler.core.judge.learn import LearnedNoise, learn
from reconciler.core.judge.settings import DEFAULT_NOISE, JudgeSettings, Protect, settings_from_mapping
from reconciler.core.judge.state import JudgeState, state_from_json, state_to_json
from reconciler.core.judge.ticks import ArmCounts, Tick, tick_from_json, tick_to_json

__all__ = [
    "DEFAULT_NOISE",
    "ArmCounts",
    "JudgeSettings",
    "JudgeState",
    "Judgement",
    "LearnedNoise",
    "Protect",
    "Tick",
    "judge",
    "learn",
    "observe",
    "replay",
    "settings_from_mapping",
    "start",
    "state_from_json",
    "state_to_json",
    "tick_from_json",
    "tick_to_json",
]
