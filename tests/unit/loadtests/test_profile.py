"""Every bad profile gives coded errors with file and line; the shipped ones load."""

from __future__ import annotations

from pathlib import Path

import pytest

from environments.errors import SpecError
from loadtests.profile import Poisson, at_rate
from loadtests.profile_file import load_profile, parse_profile

ROOT = Path(__file__).resolve().parents[3]
GOOD = "profile: p\narrivals: {kind: poisson, rate_rps: 5}\nduration_s: 10\n"
BOMB = "a: &a0 [x, x]\n" + "".join(f"b{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)) + GOOD

BAD = [
    ("unknown key", GOOD + "durations_s: 4\n", "LOAD-003", 4, "duration_s"),
    ("unknown nested key", GOOD + "slo:\n  ttft_p95: 3\n", "LOAD-003", 5, "ttft_p95_ms"),
    (
        "unknown key in a union",
        "profile: p\nduration_s: 1\narrivals:\n  kind: ramp\n  from: 1\n  from_rps: 0\n  to_rps: 2\n",
        "LOAD-003",
        5,
        "from_rps",
    ),
    (
        "unknown arrivals",
        "profile: p\narrivals: {kind: bursty, rate_rps: 1}\nduration_s: 1\n",
        "LOAD-004",
        2,
        "poisson",
    ),
    ("missing key", "profile: p\narrivals: {kind: poisson, rate_rps: 1}\n", "LOAD-004", 1, "duration_s"),
    ("text for a number", GOOD.replace("10", "ten"), "LOAD-004", 3, "ten"),
    ("quoted number", GOOD.replace("10", '"10"'), "LOAD-004", 3, "number"),
    ("rate zero", GOOD.replace("5", "0"), "LOAD-004", 2, "greater than 0"),
    ("rate beyond the bound", GOOD.replace("5", "10001"), "LOAD-004", 2, "10000"),
    ("too long", GOOD.replace("10", "3601"), "LOAD-004", 3, "3600"),
    ("more planned than allowed", GOOD + "max_requests: 20\n", "LOAD-004", 1, "about 50 arrivals"),
    ("reversed lengths", GOOD + "prompt_tokens: {kind: uniform, min: 9, max: 3}\n", "LOAD-004", 4, "greater"),
    (
        "weights that do not match",
        GOOD + "output_tokens: {kind: choice, tokens: [1, 2], weights: [1]}\n",
        "LOAD-004",
        4,
        "1 weights",
    ),
    ("given twice", GOOD + "seed: 1\nseed: 2\n", "LOAD-005", 5, "seed"),
    ("search without SLO", GOOD + "search: {min_rps: 1}\n", "LOAD-004", 1, "slo"),
    ("reversed search", GOOD + "slo: {error_rate: 0.1}\nsearch: {min_rps: 5, max_rps: 2}\n", "LOAD-004", 5, "min_rps"),
    ("unknown metric", GOOD + "compare:\n  metrics:\n    - ttft_p95\n    - ttft_p96\n", "LOAD-004", 7, "ttft_p50"),
    ("bad name", GOOD.replace("profile: p", "profile: P P"), "LOAD-004", 1, "pattern"),
    ("not YAML", "profile: [p\n", "LOAD-002", 1, "not closed"),
    ("a list", "- profile\n", "LOAD-002", 1, ""),
    ("empty", "", "LOAD-002", 1, ""),
    ("an alias bomb", BOMB, "LOAD-002", 9, "aliases"),
    ("nested without end", "profile: " + "[" * 100_000, "LOAD-002", 1, "deep"),
    ("a merge key", GOOD + "slo:\n  <<: {error_rate: 0.1}\n", "LOAD-002", 5, "merge"),
    ("a tag that builds objects", "profile: !!python/object:os.system x\n", "LOAD-002", 1, ""),
]


@pytest.mark.parametrize(("text", "code", "line", "hint"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_profile_is_a_coded_error_with_its_line(text: str, code: str, line: int, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_profile(text, "chat.yaml")
    found = [p for p in caught.value.problems if p.code == code and p.where == f"chat.yaml:{line}"]
    assert found, caught.value
    assert any(hint in p.render() for p in found), caught.value


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    with pytest.raises(SpecError) as caught:
        parse_profile("profile: p\nseed: x\narrivals: {kind: poisson, rate_rps: -1}\nduration_s: 0\n", "x.yaml")
    assert [p.where for p in caught.value.problems] == ["x.yaml:2", "x.yaml:3", "x.yaml:4"]


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_profile(tmp_path / "none.yaml")
    assert caught.value.code == "LOAD-001"


@pytest.mark.parametrize("path", sorted((ROOT / "loadtests" / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_profiles_load_and_are_named_as_their_file(path: Path) -> None:
    assert load_profile(path).profile == path.stem


def test_at_rate_changes_the_rate_and_keeps_the_rest() -> None:
    profile = parse_profile(GOOD + "max_requests: 60\n", "x")
    faster = at_rate(profile, 100.0, 3.0)
    assert faster.arrivals == Poisson(kind="poisson", rate_rps=100.0)
    assert faster.duration_s == 3.0
    assert faster.max_requests >= 300
    assert faster.prompt_tokens == profile.prompt_tokens
