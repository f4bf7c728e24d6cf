"""Observing ticks: odd weights, missing data, changed buckets, odd order; no crash, and nothing is read as zero."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from environments.errors import SluiceError
from reconciler.core.judge import (
    ArmCounts,
    JudgeSettings,
    JudgeState,
    Protect,
    Tick,
    judge,
    observe,
    replay,
    start,
    state_from_json,
    state_to_json,
)
from reconciler.core.model.verdict import Verdict
from tests.unit.judge.test_judge import arm, ticks

DEFAULT = JudgeSettings()


def histogram(counts: list[int]) -> dict[str, float]:
    """Return a cumulative histogram over three buckets."""
    running = np.cumsum(counts).tolist()
    return {"0.25": running[0], "1.0": running[1], "+Inf": running[2]}


cells = st.lists(st.integers(0, 400), min_size=3, max_size=3).map(histogram)
any_arm = st.tuples(
    st.integers(0, 500), st.floats(0, 1), st.one_of(st.just({}), cells), st.one_of(st.just({}), cells)
).map(lambda drawn: ArmCounts(drawn[0], int(drawn[0] * drawn[1]), drawn[2], drawn[3]))
any_ticks = st.lists(st.builds(Tick, st.floats(0, 1e5), st.floats(0, 100), any_arm, any_arm), max_size=12)


@settings(max_examples=60, deadline=None)
@given(any_ticks)
def test_any_ticks_in_any_order_give_a_verdict_and_finite_evidence(drawn: list[Tick]) -> None:
    judgement = replay(drawn, DEFAULT)
    assert judgement.verdict in set(Verdict)
    assert judgement.sentence
    assert json.loads(json.dumps(judgement.evidence, allow_nan=False)) == judgement.evidence


@settings(max_examples=30, deadline=None)
@given(any_ticks, st.integers(0, 12))
def test_a_restart_at_any_tick_changes_nothing(drawn: list[Tick], at: int) -> None:
    state = start(DEFAULT)
    for index, tick in enumerate(drawn):
        state = observe(state, tick, DEFAULT)
        if index == at:
            state = state_from_json(json.loads(json.dumps(state_to_json(state))))
    assert judge(state, DEFAULT) == replay(drawn, DEFAULT)


def test_the_same_ticks_give_the_same_bytes() -> None:
    def run() -> str:
        state = start(DEFAULT)
        for tick in ticks(31, 30):
            state = observe(state, tick, DEFAULT)
        return json.dumps([state_to_json(state), judge(state, DEFAULT).evidence])

    assert run() == run()


def test_observing_does_not_change_the_state_that_was_given() -> None:
    before = start(DEFAULT)
    once = json.dumps(state_to_json(before))
    observe(before, ticks(32, 1)[0], DEFAULT)
    assert json.dumps(state_to_json(before)) == once


def test_the_state_is_small() -> None:
    state = _observed(ticks(33, 100, weight_pct=5), DEFAULT)
    assert len(json.dumps(state_to_json(state), separators=(",", ":"))) < 4000


def test_an_unmeasured_row_is_never_refuted() -> None:
    judgement = replay(ticks(34, 180, weight_pct=50), DEFAULT)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "no itl histogram has arrived" in judgement.sentence


def test_a_service_without_errors_is_promoted_by_its_own_rate() -> None:
    rows = JudgeSettings(protect=(Protect("error_rate", 2.0),))
    quiet = [Tick(10.0 * k, 50.0, ArmCounts(100, 0), ArmCounts(100, 0)) for k in range(1, 60)]
    assert replay(quiet, rows).verdict is Verdict.PASS


def test_a_shared_outage_convicts_nobody_and_clears_nobody() -> None:
    rows = JudgeSettings(protect=(Protect("error_rate", 2.0),))
    rng = default_rng(35)
    calm = [Tick(10.0 * k, 50.0, arm(rng, 100), arm(rng, 100)) for k in range(1, 10)]
    down = [
        Tick(100.0 + 10.0 * k, 50.0, arm(rng, 100, error_rate=0.5), arm(rng, 100, error_rate=0.5)) for k in range(6)
    ]
    before = judge(_observed(calm, rows), rows).evidence
    after = judge(_observed([*calm, *down], rows), rows)
    assert after.verdict is Verdict.INCONCLUSIVE
    assert abs(after.evidence["promotion"] - before["promotion"]) < 0.5


def test_a_warming_challenger_is_not_judged_on_latency_but_on_errors() -> None:
    slow = replay(ticks(36, 6, slower=3.0), replace(DEFAULT, warmup_s=60))
    assert slow.verdict is Verdict.INCONCLUSIVE
    assert replay(ticks(36, 6, error_rate=0.9), replace(DEFAULT, warmup_s=60)).verdict is Verdict.FAIL


def test_an_empty_tick_changes_no_evidence() -> None:
    busy = ticks(37, 20)
    empty = Tick(205.0, 10.0, ArmCounts(0, 0), ArmCounts(0, 0))
    assert replay([*busy, empty], DEFAULT).evidence["rows"] == replay(busy, DEFAULT).evidence["rows"]


def test_more_buckets_than_before_are_merged() -> None:
    first = Tick(10.0, 50.0, ArmCounts(60, 0, histogram([20, 20, 20])), ArmCounts(60, 0, histogram([20, 20, 20])))
    finer = {"0.25": 20, "0.5": 30, "1.0": 40, "+Inf": 60}
    second = Tick(20.0, 50.0, ArmCounts(60, 0, finer), ArmCounts(60, 0, finer))
    state = _observed([first, second], DEFAULT)
    assert state.tables.seen["ttft"].tolist() == [[40, 40, 40], [40, 40, 40]]


def told(t_s: float, champion: dict[str, float], challenger: dict[str, float]) -> Tick:
    """Return a tick of 60 requests in each arm, with these histograms of TTFT."""
    return Tick(t_s, 50.0, ArmCounts(60, 0, champion), ArmCounts(60, 0, challenger))


FINE: dict[str, float] = histogram([20, 20, 20])
COARSE: dict[str, float] = {"1.0": 40, "+Inf": 60}


def test_a_bucket_that_is_gone_leaves_the_latency_out_and_errors_in() -> None:
    rows = JudgeSettings(protect=(Protect("error_rate", 2.0), Protect("ttft", 1.2)), warmup_s=0)
    state = _observed([told(10.0, FINE, FINE), told(20.0, COARSE, COARSE)], rows)
    assert state.requests == (120, 120)
    assert state.tables.seen["ttft"].sum() == 120
    assert "bucket 0.25 is gone" in judge(state, rows).sentence
    again = observe(state, told(30.0, FINE, FINE), rows)
    assert "is gone" not in judge(again, rows).sentence


def test_arms_without_a_common_bucket_are_no_comparison_and_their_errors_are() -> None:
    rows = JudgeSettings(protect=(Protect("error_rate", 2.0), Protect("ttft", 1.2)), warmup_s=0)
    apart: dict[str, float] = {"2.0": 40, "+Inf": 60}
    bad = [Tick(10.0 * k, 50.0, ArmCounts(60, 0, COARSE), ArmCounts(60, 40, apart)) for k in range(1, 6)]
    assert replay(bad, rows).verdict is Verdict.FAIL
    good = [told(10.0 * k, COARSE, apart) for k in range(1, 6)]
    assert "no bucket bound in common" in replay(good, rows).sentence


def test_the_first_arm_to_tell_its_buckets_does_not_fix_them() -> None:
    rows = JudgeSettings(protect=(Protect("ttft", 1.2),), warmup_s=0)
    early = told(10.0, FINE, {})
    both = [told(10.0 * k, FINE, COARSE) for k in range(2, 4)]
    assert _observed([early, *both], rows).tables.bounds == {"ttft": (1.0,)}


def test_a_counter_reset_inside_a_tick_is_refused() -> None:
    fallen = ArmCounts(60, 0, {"0.25": 50, "1.0": 40, "+Inf": 60})
    with pytest.raises(SluiceError, match="JUDGE-003"):
        observe(start(DEFAULT), Tick(10.0, 50.0, fallen, fallen), DEFAULT)


@pytest.mark.parametrize("record", [None, {}, {"schema": "sluice/judge-state/v0"}, {"schema": "sluice/judge-state/v1"}])
def test_a_foreign_state_is_refused(record: object) -> None:
    with pytest.raises(SluiceError, match="JUDGE-006"):
        state_from_json(record)


def test_the_tokens_of_a_request_count_as_one() -> None:
    rows = JudgeSettings(protect=(Protect("itl", 1.5),), noise=0.0, warmup_s=0)
    one, hundred = (_itl_ticks(scale) for scale in (1, 100))
    assert replay(hundred, rows).evidence["rollback"] == pytest.approx(replay(one, rows).evidence["rollback"], abs=1e-6)


def _itl_ticks(scale: int) -> list[Tick]:
    rng = default_rng(38)
    found = []
    for k in range(1, 8):
        counts = [rng.multinomial(100, p) for p in ([0.5, 0.3, 0.2], [0.45, 0.3, 0.25])]
        arms = [ArmCounts(100, 0, {}, histogram((scale * c).tolist())) for c in counts]
        found.append(Tick(10.0 * k, 50.0, arms[0], arms[1]))
    return found


def _observed(given_ticks: list[Tick], rows: JudgeSettings) -> JudgeState:
    state = start(rows)
    for tick in given_ticks:
        state = observe(state, tick, rows)
    return state
