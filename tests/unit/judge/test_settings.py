"""The `judge:` block is strict, and every mistake in it has a code."""

from __future__ import annotations

from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.core.judge import DEFAULT_NOISE, JudgeSettings, Protect, settings_from_mapping
from reconciler.core.judge.shares import bet_shares

CONTRACT: dict[str, Any] = {
    "alpha": 0.01,
    "beta": 0.02,
    "noise": 0.03,
    "warmup_s": 60,
    "protect": [
        {"metric": "error_rate", "ratio": 2.0},
        {"metric": "ttft", "ratio": 1.2},
        {"metric": "ttft", "share": 0.10, "ratio": 2.0},
        {"metric": "itl", "ratio": 1.2},
    ],
}

BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"alfa": 0.01}, "JUDGE-004", "alpha"),
    ({"alpha": "small"}, "JUDGE-004", "a number"),
    ({"alpha": True}, "JUDGE-004", "a number"),
    ({"noise": "learnt"}, "JUDGE-004", "a number"),
    ({"protect": {"metric": "ttft", "ratio": 2}}, "JUDGE-004", "list"),
    ({"protect": ["ttft"]}, "JUDGE-004", "row"),
    ({"protect": [{"metric": "tftt", "ratio": 2}]}, "JUDGE-004", "ttft"),
    ({"protect": [{"metric": "ttft", "ration": 2}]}, "JUDGE-004", "ratio"),
    ({"protect": [{"metric": "ttft"}]}, "JUDGE-004", "number"),
    ({"protect": [{"metric": "ttft", "ratio": 0.9}]}, "JUDGE-005", "above 1"),
    ({"protect": [{"metric": "ttft", "ratio": 2, "share": 1.5}]}, "JUDGE-005", "between 0 and 1"),
    ({"protect": [{"metric": "error_rate", "ratio": 2, "share": 0.1}]}, "JUDGE-005", "belongs to a latency"),
    ({"protect": []}, "JUDGE-005", "nothing to rule out"),
    ({"alpha": 0.0}, "JUDGE-005", "0"),
    ({"beta": 0.6}, "JUDGE-005", "0.5"),
    ({"noise": -0.1}, "JUDGE-005", "noise"),
    ({"noise": float("nan")}, "JUDGE-005", "noise"),
    ({"warmup_s": -1}, "JUDGE-005", "warmup_s"),
    ({"tick_s": 0}, "JUDGE-005", "tick_s"),
    ({"tokens_per_request": 0}, "JUDGE-005", "tokens_per_request"),
]


def test_the_contracts_block_gives_the_defaults() -> None:
    assert settings_from_mapping(CONTRACT) == JudgeSettings()
    assert settings_from_mapping({}) == JudgeSettings()
    assert settings_from_mapping({"tokens_per_request": None}) == JudgeSettings()
    assert settings_from_mapping({"tokens_per_request": 50}).tokens_per_request == 50.0


def test_learned_noise_stands_in_for_the_word() -> None:
    assert settings_from_mapping({"noise": "learned"}, learned_noise=0.012).noise == 0.012
    assert settings_from_mapping({"noise": "learned"}).noise == DEFAULT_NOISE


@pytest.mark.parametrize(("block", "code", "hint"), BAD, ids=[str(case[0]) for case in BAD])
def test_a_wrong_block_is_refused_with_a_code(block: dict[str, Any], code: str, hint: str) -> None:
    with pytest.raises(SluiceError) as caught:
        settings_from_mapping(block)
    problem = caught.value.problem
    assert problem.code == code
    assert problem.where.startswith("judge")
    assert hint in problem.render()
    assert problem.do


def test_a_metric_without_a_bet_is_refused_however_it_came() -> None:
    with pytest.raises(SluiceError) as caught:
        JudgeSettings(protect=(Protect("ttft", 1.2), Protect("cost", 2.0)))  # type: ignore[arg-type]
    assert caught.value.problem.render().splitlines() == [
        "JUDGE-005  judge.protect[1].metric",
        "  what: protect[1].metric is cost",
        "  why:  known: error_rate, ttft, itl",
        "  do:   change protect[1].metric in the `judge:` block",
    ]


@pytest.mark.parametrize(
    "rows",
    [
        (Protect("error_rate", 2.0),),
        (Protect("ttft", 1.2), Protect("itl", 1.2)),
        JudgeSettings().protect,
        (Protect("error_rate", 2.0), Protect("error_rate", 3.0), Protect("ttft", 1.2)),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_the_bets_never_spend_more_than_alpha(rows: tuple[Protect, ...], noise: float) -> None:
    shares = bet_shares(JudgeSettings(protect=rows, noise=noise))
    beside_errors = 4 if any(row.metric == "error_rate" for row in rows) else 0
    assert len(shares) == 2 * len(rows) + beside_errors
    assert (shares > 0).all()
    assert shares.sum() <= 1.0 + 1e-12
