"""Verdicts from tables of passed and failed cases: drop, thresholds, slices, robustness, repeats, completeness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.errors import SluiceError
from reconciler.core.model.verdict import Verdict
from reconciler.gates.eval import paired
from reconciler.gates.eval.ask import questions
from reconciler.gates.eval.judgement import EvalJudgement, judge_eval
from reconciler.gates.eval.scoring import Scored, require_complete
from tests.unit.gates.eval.answers import made_suite, scored

LIST = "population: cases"


def judge(cases: int, lost: int, *, gained: int = 0, max_drop: float = 0.02, head: str = "") -> EvalJudgement:
    """Judge a challenger that lost the first cases and gained the last."""
    champion = [index < cases - gained for index in range(cases)]
    challenger = [index >= lost for index in range(cases)]
    return judge_eval(made_suite(cases, head), scored(challenger), scored(champion), max_drop=max_drop, alpha=0.05)


@pytest.mark.parametrize(
    ("cases", "lost", "gained", "verdict"),
    [
        (300, 15, 0, Verdict.FAIL),
        (300, 0, 0, Verdict.PASS),
        (149, 0, 0, Verdict.PASS),
        (148, 0, 0, Verdict.INCONCLUSIVE),
        (30, 0, 0, Verdict.INCONCLUSIVE),
        (60, 3, 0, Verdict.INCONCLUSIVE),
        (30, 30, 0, Verdict.FAIL),
        (300, 0, 30, Verdict.PASS),
        (300, 15, 15, Verdict.INCONCLUSIVE),
        (1200, 60, 60, Verdict.PASS),
    ],
)
def test_drop_of_a_sample(cases: int, lost: int, gained: int, verdict: Verdict) -> None:
    found = judge(cases, lost, gained=gained)
    assert found.verdict is verdict, found.sentence


@pytest.mark.parametrize(
    ("lost", "gained", "verdict"),
    [(0, 0, Verdict.PASS), (1, 0, Verdict.FAIL), (1, 1, Verdict.PASS), (2, 1, Verdict.FAIL)],
)
def test_drop_of_a_complete_list(lost: int, gained: int, verdict: Verdict) -> None:
    assert judge(30, lost, gained=gained, head=LIST).verdict is verdict


def test_a_drop_of_exactly_the_limit_is_allowed() -> None:
    assert judge(50, 1, head=LIST).verdict is Verdict.PASS


def test_a_gain_is_called_one_where_no_range_of_drops_follows() -> None:
    assert "a gain of 10.0 points" in judge(30, 0, gained=3, head=LIST).sentence
    assert "a drop of -10.0 points (between -13.3, 95% sure" in judge(300, 0, gained=30).sentence


def test_inconclusive_says_how_many_cases_would_do() -> None:
    found = judge(30, 0)
    assert "about 149 that go like these would do" in found.sentence
    assert found.findings[0].figures["needed"] == 149
    assert "hardly decide" in judge(50, 1).sentence


def test_repeats_of_a_case_are_one_pair() -> None:
    """Ten repeats of 30 equal cases say no more about other prompts than one repeat does."""
    suite = made_suite(30, "sampling: {temperature: 0.5, repeats: 10}")
    arm = scored([[True] * 10] * 30)
    found = judge_eval(suite, arm, arm, max_drop=0.02, alpha=0.05)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.findings[0].figures["cases"] == 30


def test_repeats_measure_what_one_draw_would_not() -> None:
    suite = made_suite(200, "sampling: {temperature: 0.5, repeats: 4}")
    champion, challenger = scored([[True] * 4] * 200), scored([[True, True, True, False]] * 200)
    found = judge_eval(suite, challenger, champion, max_drop=0.1, alpha=0.05)
    assert found.verdict is Verdict.FAIL
    assert found.findings[0].figures["value"] == pytest.approx(0.25)


def test_threshold_fails_even_where_the_champion_misses_it_too() -> None:
    suite = made_suite(30, f"{LIST}\nthresholds: {{ok: 0.9}}")
    arm = scored([index >= 6 for index in range(30)])
    found = judge_eval(suite, arm, arm, max_drop=0.02, alpha=0.05)
    assert found.verdict is Verdict.FAIL
    assert "ok is content with 80.0%, the suite demands 90.0%; the champion misses it too" in found.sentence


@pytest.mark.parametrize(("head", "verdict"), [(LIST, Verdict.FAIL), ("", Verdict.INCONCLUSIVE)])
def test_slices_far_apart(head: str, verdict: Verdict) -> None:
    slices = "slices: {languages: {tags: [en, de], max_gap: 0.1}}"
    suite = made_suite(20, f"{head}\n{slices}", tags=("en", "de"))
    challenger = scored([index % 2 == 0 or index > 5 for index in range(20)])
    found = judge_eval(suite, challenger, None, max_drop=0.02, alpha=0.05)
    assert found.verdict is verdict
    assert "100.0% of 10 cases pass with en, 70.0% of 10 with de: 30.0 points apart" in found.sentence


def test_slices_of_a_large_sample_fail_and_pass() -> None:
    suite = made_suite(400, "slices: {languages: {tags: [en, de], max_gap: 0.1}}", tags=("en", "de"))
    apart = scored([index % 2 == 0 or index % 5 > 1 for index in range(400)])
    assert judge_eval(suite, apart, None, max_drop=0.02, alpha=0.05).verdict is Verdict.FAIL
    assert judge_eval(suite, scored([True] * 400), None, max_drop=0.02, alpha=0.05).verdict is Verdict.PASS


@pytest.mark.parametrize(("limit", "verdict"), [(0.4, Verdict.FAIL), (0.5, Verdict.PASS)])
def test_robustness(limit: float, verdict: Verdict) -> None:
    suite = made_suite(4, f"perturbations: {{typo: 1, max_loss: {limit}}}")
    arm = scored([[True, index % 2 == 0] for index in range(4)], {1: "typo-1"})
    assert judge_eval(suite, arm, None, max_drop=0.02, alpha=0.05).verdict is verdict


def test_robustness_that_was_not_measured_is_no_pass() -> None:
    suite = made_suite(4, "perturbations: {typo: 1, max_loss: 0.5}")
    assert judge_eval(suite, scored([True] * 4), None, max_drop=0.02, alpha=0.05).verdict is Verdict.INCONCLUSIVE


def test_nothing_demanded_is_inconclusive() -> None:
    assert (
        judge_eval(made_suite(4), scored([True] * 4), None, max_drop=0.02, alpha=0.05).verdict is Verdict.INCONCLUSIVE
    )


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=5, max_size=60), st.sampled_from(["", LIST]))
@settings(max_examples=40, deadline=None)
def test_losing_one_more_case_never_turns_a_fail_into_a_pass(pairs: list[tuple[bool, bool]], head: str) -> None:
    suite = made_suite(len(pairs), head)
    champion, challenger = scored([a for a, _ in pairs]), scored([b for _, b in pairs])
    worse = scored([False, *(b for _, b in pairs[1:])])
    before = judge_eval(suite, challenger, champion, max_drop=0.1, alpha=0.05).verdict
    after = judge_eval(suite, worse, champion, max_drop=0.1, alpha=0.05).verdict
    assert not (before is Verdict.FAIL and after is Verdict.PASS)


def test_a_missing_answer_or_score_is_an_error() -> None:
    suite = made_suite(4)
    asked = questions(suite)
    arm = tuple(
        Scored(type(each.answer)(question, each.answer.text), each.scores)
        for question, each in zip(asked, scored([True] * 4), strict=True)
    )
    require_complete(suite, asked, arm, "challenger")
    unscored = (*arm[:3], Scored(arm[3].answer, {}))
    for broken in (arm[:3], unscored, ()):
        with pytest.raises(SluiceError) as caught:
            require_complete(suite, asked, broken, "challenger")
        assert caught.value.code == "EVAL-026"


def test_a_challenger_that_is_no_worse_fails_at_most_as_often_as_alpha_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both arms answer at random and equally well; drop and slices share one chance of a wrong FAIL."""
    monkeypatch.setattr(paired, "_DRAWS", 2_000)  # as many as that tail needs, not as many as a smooth figure does
    monkeypatch.setattr(paired, "_TAIL_DRAWS", 30)
    rng = np.random.default_rng(3)
    head = "slices: {languages: {tags: [en, de], max_gap: 0.0}}"
    suite = made_suite(120, head, tags=["en", "de"])
    alpha, runs, fails = 0.05, 200, 0
    for _ in range(runs):
        champion, challenger = ((rng.random(120) < 0.85).tolist() for _ in range(2))
        found = judge_eval(suite, scored(challenger), scored(champion), max_drop=0.0, alpha=alpha)
        fails += found.verdict is Verdict.FAIL
    assert fails / runs <= alpha + 3 * (alpha * (1 - alpha) / runs) ** 0.5


def test_the_chance_of_a_wrong_fail_is_shared_by_what_can_convict() -> None:
    arms = scored([index >= 15 for index in range(300)]), scored([True] * 300)
    head = "slices: {some: {tags: [x, y], max_gap: 0.5}}"
    for suite, each in ((made_suite(300), 0.05), (made_suite(300, head, tags=["x", "y"]), 0.025)):
        found = judge_eval(suite, *arms, max_drop=0.02, alpha=0.05)
        drop = next(finding for finding in found.findings if finding.name == "drop")
        assert drop.figures["alpha"] == pytest.approx(each)
