"""A release that rejects what the champion accepts is rolled back; clients' own mistakes neither convict nor hide."""

from __future__ import annotations

import pytest
from numpy.random import default_rng

from environments.errors import SluiceError
from reconciler.core.judge import (
    ArmCounts,
    Fates,
    Judgement,
    JudgeSettings,
    Protect,
    StartWindow,
    Tick,
    replay,
    tick_from_json,
    tick_to_json,
)
from reconciler.core.model.verdict import Verdict

SETTINGS = JudgeSettings(noise=0.0, warmup_s=0.0, protect=(Protect("error_rate", 2.0),))
EQUAL = (0.001, 0.001)


def judged(seed: int, *, errors: tuple[float, float], rejected: tuple[float, float]) -> Judgement:
    """Return the verdict after half an hour of 20 requests/s at 10 %; rates of champion and challenger."""
    rng = default_rng(seed)

    def arm(requests: int, which: int) -> ArmCounts:
        failed = int(rng.binomial(requests, errors[which]))
        return ArmCounts(requests, failed, rejected=int(rng.binomial(requests - failed, rejected[which])))

    return replay((Tick(10.0 * k, 10.0, arm(180, 0), arm(20, 1)) for k in range(1, 181)), SETTINGS)


def test_a_release_that_rejects_long_prompts_is_rolled_back_and_the_sentence_says_so() -> None:
    judgement = judged(1, errors=EQUAL, rejected=(0.0, 0.12))
    assert judgement.verdict is Verdict.FAIL
    assert "rejects requests that the champion accepts" in judgement.sentence
    assert judgement.exposed_requests < 200


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.2])
def test_the_clients_own_mistakes_do_not_hide_errors(rate: float) -> None:
    found = [judged(seed, errors=(0.001, 0.02), rejected=(rate, rate)).verdict for seed in range(10)]
    assert found == [Verdict.FAIL] * 10


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.2])
def test_the_clients_own_mistakes_convict_nobody(rate: float) -> None:
    found = [judged(seed, errors=EQUAL, rejected=(rate, rate)).verdict for seed in range(40)]
    assert found.count(Verdict.FAIL) <= 1


def test_a_tick_keeps_what_was_rejected() -> None:
    tick = Tick(1.0, 10.0, ArmCounts(9, 1, rejected=2), ArmCounts(1, 0))
    assert tick_from_json(tick_to_json(tick)) == tick


def test_more_outcomes_than_requests_are_impossible() -> None:
    with pytest.raises(SluiceError, match="JUDGE-002"):
        tick_from_json(tick_to_json(Tick(1.0, 10.0, ArmCounts(3, 2, rejected=2), ArmCounts(1, 0))))


HASTY = JudgeSettings(noise=0.0, warmup_s=0.0, slo_error_rate=0.05, protect=(Protect("error_rate", 4.0),))


def hurried(seed: int, rejected: tuple[float, float]) -> Judgement:
    """Return the verdict where the rows are refuted within half a minute, long before rejections can convict."""
    rng = default_rng(seed)

    def arm(which: int) -> ArmCounts:
        return ArmCounts(20, 0, rejected=int(rng.binomial(20, rejected[which])))

    return replay((Tick(2.0 * k, 50.0, arm(0), arm(1)) for k in range(1, 181)), HASTY)


def test_whoever_seems_to_reject_more_is_not_promoted_before_that_is_settled() -> None:
    """Found by the demo: a shorter context, 6 % of the requests too long, promoted after 17 s."""
    found = [hurried(seed, (0.0, 0.06)) for seed in range(20)]
    assert [each.verdict for each in found] == [Verdict.FAIL] * 20
    assert all("rejects requests that the champion accepts" in each.sentence for each in found)


def test_clients_mistakes_on_both_sides_delay_no_promotion_for_long() -> None:
    found = [hurried(seed, (0.06, 0.06)) for seed in range(20)]
    assert [each.verdict for each in found].count(Verdict.PASS) >= 19
    assert sorted(each.decided_at_s or 1e9 for each in found)[10] < 60


def test_the_sentence_says_what_promotion_waits_for() -> None:
    arms = [ArmCounts(200, 0, rejected=2 if k == 1 else 0) for k in range(1, 8)]
    judgement = replay((Tick(2.0 * k, 50.0, ArmCounts(200, 0), arm) for k, arm in enumerate(arms, 1)), HASTY)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    rates = "(challenger 0.14 % of 1,400, champion 0.00 % of 1,400)"
    assert f"seems to reject what the champion accepts {rates}" in judgement.sentence


def test_where_only_requests_without_an_end_hold_promotion_up_the_sentence_says_that() -> None:
    def window(k: int) -> tuple[StartWindow, ...]:
        began = Fates(100, 100, 0, 0)
        return (StartWindow(10.0 * (k - 1), 10.0, 50.0, began, began, "w"),)

    ticks = (Tick(10.0 * k, 50.0, ArmCounts(100, 0), ArmCounts(100, 0), 0.0, window(k)) for k in (1, 2))
    judgement = replay(ticks, HASTY)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "it is not ruled out yet that some requests never end" in judgement.sentence
