"""Arrivals, lengths and the workload: what is drawn, what a seed fixes, what bounds hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.errors import SluiceError, SpecError
from loadtests.arrivals import schedule
from loadtests.lengths import draw_lengths
from loadtests.profile import (
    Arrivals,
    ChoiceLength,
    Constant,
    FixedLength,
    LognormalLength,
    Poisson,
    Profile,
    Ramp,
    Sessions,
    Spike,
    Trace,
    UniformLength,
)
from loadtests.workload import Workload, plan_workload


def profile(**changes: Any) -> Profile:
    base: dict[str, Any] = {
        "profile": "p",
        "arrivals": Poisson(kind="poisson", rate_rps=20.0),
        "duration_s": 10.0,
        "warmup_s": 2.0,
        "prompt_tokens": FixedLength(kind="fixed", tokens=8),
    }
    return Profile(**(base | changes))


def times(arrivals: Arrivals, duration_s: float, seed: int = 1) -> list[float]:
    return list(schedule(arrivals, duration_s, rng=np.random.default_rng(seed), folder=Path()).at_s)


@given(rate=st.floats(0.5, 200), seconds=st.floats(0.5, 20), seed=st.integers(0, 99))
def test_arrivals_are_sorted_and_inside_the_load(rate: float, seconds: float, seed: int) -> None:
    kinds: list[Arrivals] = [
        Poisson(kind="poisson", rate_rps=rate),
        Constant(kind="constant", rate_rps=rate),
        Ramp(kind="ramp", from_rps=0.0, to_rps=rate),
        Ramp(kind="ramp", from_rps=rate, to_rps=rate),
        Spike(kind="spike", rate_rps=rate, spike_rps=2 * rate, spike_at_s=seconds / 2, spike_s=1.0),
    ]
    for kind in kinds:
        at_s = times(kind, seconds, seed)
        assert at_s == sorted(at_s)
        assert all(0 <= at < seconds for at in at_s)


def test_counts_follow_the_rates() -> None:
    assert len(times(Constant(kind="constant", rate_rps=10.0), 5.0)) == 50
    assert len(times(Poisson(kind="poisson", rate_rps=500.0), 20.0)) == pytest.approx(10_000, rel=0.05)
    ramp = np.array(times(Ramp(kind="ramp", from_rps=0.0, to_rps=1000.0), 20.0))
    assert len(ramp) == pytest.approx(10_000, rel=0.05)
    assert (ramp < 10.0).mean() == pytest.approx(0.25, abs=0.02)
    spike = np.array(times(Spike(kind="spike", rate_rps=100.0, spike_rps=1000.0, spike_at_s=5.0, spike_s=2.0), 20.0))
    assert ((spike >= 5) & (spike < 7)).sum() == pytest.approx(2000, rel=0.1)
    assert len(spike) == pytest.approx(3800, rel=0.1)


def test_a_trace_is_replayed_faster_and_brings_its_lengths(tmp_path: Path) -> None:
    rows = [{"at_s": 2.0, "prompt_tokens": 5, "output_tokens": 3}, {"at_s": 1.0}, {"at_s": 90.0}]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    work = plan_workload(
        profile(arrivals=Trace(kind="trace", file="t.jsonl", speed=2.0), warmup_s=0.0),
        model="m",
        salt="s",
        folder=tmp_path,
    )
    assert [session.at_s for session in work.sessions] == [0.5, 1.0]
    assert [session.turns[0].output_tokens for session in work.sessions] == [32, 3]
    assert work.sessions[1].turns[0].prompt_tokens == 5


@pytest.mark.parametrize(
    ("text", "line"), [('{"at_s": 1}\n{"at": 2}\n', ":2"), ("{\n", ":1"), ('{"at_s": -1}\n', ":1"), ("", "")]
)
def test_a_bad_trace_names_its_line(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(SpecError) as caught:
        schedule(Trace(kind="trace", file="t.jsonl"), 9.0, rng=np.random.default_rng(0), folder=tmp_path)
    assert caught.value.code == "LOAD-007"
    assert caught.value.problem.where.endswith("t.jsonl" + line)


def test_lengths_keep_their_bounds() -> None:
    rng = np.random.default_rng(3)
    assert set(draw_lengths(FixedLength(kind="fixed", tokens=4), 9, rng=rng)) == {4}
    assert set(draw_lengths(UniformLength(kind="uniform", min=2, max=4), 200, rng=rng)) == {2, 3, 4}
    shape = LognormalLength(kind="lognormal", median=50, sigma=1.0, min=10, max=100)
    drawn = draw_lengths(shape, 4000, rng=rng)
    assert drawn.min() == 10
    assert drawn.max() == 100
    assert np.median(drawn) == pytest.approx(50, rel=0.1)
    choice = draw_lengths(ChoiceLength(kind="choice", tokens=[1, 9], weights=[3.0, 1.0]), 4000, rng=rng)
    assert (choice == 9).mean() == pytest.approx(0.25, abs=0.03)


def bodies(work: Workload) -> list[bytes]:
    return [turn.body for session in work.sessions for turn in session.turns]


def test_a_seed_fixes_everything_and_the_salt_changes_every_prompt() -> None:
    one, same = (plan_workload(profile(seed=5), model="m", salt="a") for _ in range(2))
    assert one == same
    assert plan_workload(profile(seed=6), model="m", salt="a") != one
    other = plan_workload(profile(seed=5), model="m", salt="b")
    assert [session.at_s for session in other.sessions] == [session.at_s for session in one.sessions]
    assert not set(bodies(one)) & set(bodies(other))
    assert len(set(bodies(one))) == len(bodies(one))


@given(count=st.integers(1, 5), seed=st.integers(0, 20))
def test_shards_together_are_the_whole_load(count: int, seed: int) -> None:
    whole = plan_workload(profile(seed=seed, warmup_s=0.0), model="m", salt="s")
    parts = [
        plan_workload(profile(seed=seed, warmup_s=0.0), model="m", salt="s", shard=(i, count)) for i in range(count)
    ]
    together = sorted((session for part in parts for session in part.sessions), key=lambda session: session.number)
    assert tuple(together) == whole.sessions


def test_max_requests_counts_turns_and_says_that_it_cut() -> None:
    talk = Sessions(turns=FixedLength(kind="fixed", tokens=3), think_s=0.0)
    work = plan_workload(profile(sessions=talk, max_requests=250, warmup_s=0.0), model="m", salt="s")
    assert sum(len(session.turns) for session in work.sessions) <= 250
    assert work.cut
    assert not plan_workload(profile(), model="m", salt="s").cut


def test_warm_up_comes_before_zero_and_is_marked() -> None:
    work = plan_workload(profile(), model="m", salt="s")
    warm = [session for session in work.sessions if session.number < 0]
    assert len(warm) == 40
    assert all(-2 <= session.at_s < 0 for session in warm)
    assert all(session.at_s >= 0 for session in work.sessions if session.number >= 0)


def test_a_conversation_carries_its_history() -> None:
    talk = Sessions(turns=FixedLength(kind="fixed", tokens=3), think_s=0.0)
    work = plan_workload(profile(sessions=talk, warmup_s=0.0, shared_prefix_tokens=4), model="m", salt="s")
    first, second, third = (json.loads(turn.body)["messages"] for turn in work.sessions[0].turns)
    assert [message["role"] for message in third] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert third[: len(second)] == second
    assert second[: len(first)] == first
    assert len(first[0]["content"].split()) == 5


def test_completions_and_engines_other_than_vllm() -> None:
    body = json.loads(bodies(plan_workload(profile(api="completions", ignore_eos=False), model="m", salt="s"))[0])
    assert body["prompt"].split()[0] == "s"
    assert "ignore_eos" not in body
    assert body["stream"] is True


def test_a_profile_that_sends_nothing_is_an_error() -> None:
    talk = Sessions(turns=FixedLength(kind="fixed", tokens=30), think_s=0.0)
    with pytest.raises(SluiceError) as caught:
        plan_workload(
            profile(sessions=talk, max_requests=20, arrivals=Poisson(kind="poisson", rate_rps=1.0)),
            model="m",
            salt="s",
        )
    assert caught.value.code == "LOAD-006"
