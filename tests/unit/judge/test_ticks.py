"""Ticks come and go as JSON, and an impossible one is refused with a code."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.errors import SluiceError
from reconciler.core.judge import tick_from_json, tick_to_json
from reconciler.core.judge.ticks import bounds_of, cells

GOOD: dict[str, Any] = {
    "t_s": 10,
    "weight_pct": 10,
    "champion": {"requests": 180, "errors": 2, "ttft_s": {"0.25": 40, "0.5": 150, "+Inf": 178}, "itl_s": {}},
    "challenger": {"requests": 20, "errors": 0, "ttft_s": {"0.25": 4, "0.5": 15, "+Inf": 20}},
}

WINDOW: dict[str, Any] = {
    "began_s": -20,
    "window_s": 10,
    "weight_pct": 10,
    "champion": [90, 80, 1, 2],
    "challenger": [10, 9, 0, 0],
}

BAD: list[tuple[str, list[str], object, str]] = [
    ("no object", [], 7, "JUDGE-001"),
    ("no arm", ["champion"], None, "JUDGE-001"),
    ("unknown key", ["weigth_pct"], 10, "JUDGE-001"),
    ("unknown arm key", ["champion", "error"], 10, "JUDGE-001"),
    ("a word for a number", ["t_s"], "ten", "JUDGE-001"),
    ("true for a number", ["champion", "requests"], True, "JUDGE-001"),
    ("a list of buckets", ["champion", "ttft_s"], [1, 2], "JUDGE-001"),
    ("a negative count", ["champion", "requests"], -1, "JUDGE-002"),
    ("half a request", ["champion", "requests"], 0.5, "JUDGE-002"),
    ("not finite", ["t_s"], float("nan"), "JUDGE-002"),
    ("more errors than requests", ["challenger", "errors"], 21, "JUDGE-002"),
    ("a weight above 100", ["weight_pct"], 101, "JUDGE-002"),
    ("a counter reset", ["champion", "ttft_s"], {"0.25": 40, "0.5": 12, "+Inf": 178}, "JUDGE-003"),
    ("no +Inf", ["champion", "ttft_s"], {"0.25": 40, "0.5": 150}, "JUDGE-003"),
    ("a bound that is no number", ["champion", "ttft_s"], {"fast": 40, "+Inf": 178}, "JUDGE-003"),
    ("a bound twice", ["champion", "ttft_s"], {"0.5": 40, "0.50": 40, "+Inf": 178}, "JUDGE-003"),
    ("a bound of zero", ["champion", "ttft_s"], {"0": 0, "+Inf": 178}, "JUDGE-003"),
    ("a bound that is not a number", ["champion", "ttft_s"], {"nan": 0, "+Inf": 178}, "JUDGE-003"),
    ("windows that are no list", ["cohorts"], {"began_s": 0}, "JUDGE-001"),
    ("a window without a length", ["cohorts"], [{**WINDOW, "window_s": 0}], "JUDGE-002"),
    ("a window without an arm", ["cohorts"], [{k: v for k, v in WINDOW.items() if k != "challenger"}], "JUDGE-001"),
    ("three counts of a window", ["cohorts"], [{**WINDOW, "champion": [90, 80, 1]}], "JUDGE-001"),
    ("more ended than begun", ["cohorts"], [{**WINDOW, "champion": [90, 91, 0, 0]}], "JUDGE-002"),
    ("more failed than ended", ["cohorts"], [{**WINDOW, "champion": [90, 80, 41, 40]}], "JUDGE-002"),
    ("a window at 101 %", ["cohorts"], [{**WINDOW, "weight_pct": 101}], "JUDGE-002"),
    ("a number for a name", ["cohorts"], [{**WINDOW, "weights": 7}], "JUDGE-001"),
]


@pytest.mark.parametrize(("path", "value", "code"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_an_impossible_tick_is_refused_with_a_code(path: list[str], value: object, code: str) -> None:
    with pytest.raises(SluiceError) as caught:
        tick_from_json(_changed(path, value), "ticks.jsonl:3")
    problem = caught.value.problem
    assert problem.code == code
    assert problem.where.startswith("ticks.jsonl:3")
    assert problem.what
    assert problem.why
    assert problem.do


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(SluiceError, match="weight_pct"):
        tick_from_json(_changed(["weigth_pct"], 10))


@pytest.mark.parametrize("key", ["t_s", "weight_pct", "champion", "challenger"])
def test_a_missing_key_is_not_read_as_zero(key: str) -> None:
    with pytest.raises(SluiceError, match=f"missing {key}"):
        tick_from_json({name: value for name, value in GOOD.items() if name != key})


histograms = st.lists(st.integers(0, 1000), min_size=2, max_size=6).map(
    lambda counts: dict(
        zip([*(str(0.1 * 2**k) for k in range(len(counts) - 1)), "+Inf"], _running(counts), strict=True)
    )
)
arms = st.integers(0, 5000).flatmap(
    lambda requests: st.fixed_dictionaries(
        {"requests": st.just(requests), "errors": st.integers(0, requests)},
        optional={"ttft_s": histograms, "itl_s": histograms, "answer_s": histograms, "answers": st.integers(0, 5000)},
    )
)


fates = st.integers(0, 900).flatmap(lambda begun: st.integers(0, begun).map(lambda ended: [begun, ended, 0, 0]))
windows = st.fixed_dictionaries(
    {
        "began_s": st.floats(-900, 1e6),
        "window_s": st.just(10.0),
        "weight_pct": st.floats(0, 100),
        "champion": fates,
        "challenger": fates,
    },
    optional={"weights": st.text(min_size=1, max_size=9)},
)
records = st.fixed_dictionaries(
    {"t_s": st.floats(0, 1e6), "weight_pct": st.floats(0, 100), "champion": arms, "challenger": arms},
    optional={"since_s": st.floats(-1e3, 1e6), "cohorts": st.lists(windows, max_size=3)},
)


@given(records)
def test_a_tick_survives_json(record: dict[str, Any]) -> None:
    tick = tick_from_json(json.loads(json.dumps(record)))
    assert tick_to_json(tick) == record
    assert tick_from_json(json.loads(json.dumps(tick_to_json(tick)))) == tick


def test_cells_are_the_counts_between_bounds() -> None:
    histogram = tick_from_json(GOOD).champion.ttft_s
    assert bounds_of(histogram) == (0.25, 0.5)
    assert cells(histogram, (0.25, 0.5)) == [40, 110, 28]
    assert cells(histogram, (0.5,)) == [150, 28]


def _running(counts: list[int]) -> list[int]:
    return [sum(counts[: k + 1]) for k in range(len(counts))]


def _changed(path: list[str], value: object) -> object:
    if not path:
        return value
    record = copy.deepcopy(GOOD)
    part = record
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return record
