"""Figures of runs that were made by hand: what counts, what does not, and what intervals cover."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest

from environments.errors import SluiceError
from loadtests.columns import LeftOut, columns_of, joined, left_out_of, stalled_seconds
from loadtests.guard import LiveFigures, LiveWatch
from loadtests.interval import Tails, percentile_interval, percentile_ratio, rate_difference, rate_interval, student
from loadtests.profile import LiveGuard, Search, Slo
from loadtests.result import LoadResult, result_of, slo_breaches
from loadtests.search import bracket, find_capacity, probe_seconds
from loadtests.stream import Outcome
from tests.unit.loadtests.made import TARGETS, drawn, profile, run_of, stream


def test_latency_counts_from_the_schedule_and_warm_up_does_not_count() -> None:
    late = stream(0, at=100.0, ttft_s=0.5)
    late.started, late.sent = 100.4, 100.4
    arm = result_of(run_of([stream(-1, at=99.0, ttft_s=9.0), late])).arms[0]
    assert arm.requests == 1
    assert arm.ttft_ms.p50 == pytest.approx(500.0)
    assert arm.itl_ms.p50 == pytest.approx(10.0)
    assert arm.e2e_ms.p50 == pytest.approx(540.0)


def test_a_timeout_has_the_time_it_waited_as_latency_and_is_no_goodput() -> None:
    arm = result_of(run_of([stream(0, at=100.0), stream(1, at=101.0, outcome=Outcome.TIMEOUT)])).arms[0]
    assert arm.ttft_ms.max == pytest.approx(5000.0)
    assert arm.failures == {"timeout": 1}
    assert arm.error_rate == 0.5
    assert arm.goodput_share == 0.5


def test_quick_failures_do_not_make_a_target_look_fast() -> None:
    arm = result_of(run_of([stream(0, at=100.0), stream(1, at=101.0, outcome=Outcome.CONNECT)])).arms[0]
    assert arm.ttft_ms.samples == 1
    assert arm.failures == {"connect": 1}
    assert arm.examples == ("connect: made to fail",)


def test_cancelled_requests_are_in_no_figure() -> None:
    arm = result_of(run_of([stream(0, at=100.0), stream(1, at=101.0, outcome=Outcome.CANCELLED)])).arms[0]
    assert arm.requests == 1
    assert arm.error_rate == 0.0


def test_goodput_needs_every_latency_of_the_slo() -> None:
    rows = [stream(0, at=100.0), stream(1, at=101.0, ttft_s=0.3), stream(2, at=102.0, gaps_s=(0.1, 0.1))]
    shape = profile(slo=Slo(ttft_p95_ms=200.0, itl_p95_ms=50.0))
    assert result_of(run_of(rows, shape=shape)).arms[0].goodput_share == pytest.approx(1 / 3, abs=1e-4)


def test_an_empty_run_has_no_zeros_for_latencies() -> None:
    arm = result_of(run_of([])).arms[0]
    assert arm.error_rate is None
    assert arm.ttft_ms.p95 is None
    assert slo_breaches(arm, Slo(error_rate=0.1)) != ()


def test_results_are_json_and_the_timeline_adds_up() -> None:
    result = result_of(run_of(drawn(300), drawn(300)))
    again = json.loads(json.dumps(result.to_json()))
    assert again["arms"][0]["ttft_ms"]["samples"] == 300
    assert sum(one["requests"] for one in again["arms"][1]["timeline"]) == 300


def test_a_late_generator_says_so() -> None:
    assert not result_of(run_of(drawn(30), lag_s=0.004)).late
    assert result_of(run_of(drawn(30), lag_s=0.2)).late


def test_what_a_late_second_touched_is_left_out_and_nothing_else() -> None:
    on_time = [stream(0, at=100.5), stream(1, at=101.9), stream(2, at=103.5, ttft_s=0.9), stream(3, at=105.5)]
    waiting = stream(4, at=104.2)
    waiting.started = 104.6
    long = stream(5, at=102.5, ttft_s=0.1, gaps_s=(4.0,))
    run = run_of([*on_time, waiting, long], shape=profile(late_ms=5.0, slo={}))
    assert stalled_seconds(run) == {4}
    timely = dict(zip(columns_of(run, 0).key.tolist(), columns_of(run, 0).timely.tolist(), strict=True))
    assert list(timely.values()) == [True, True, True, False, False, True]  # by time: 0, 1, 5, 2, 4, 3
    assert left_out_of(run) == LeftOut(2, 1, 400.0)


def test_joined_rounds_keep_their_requests_apart() -> None:
    one = columns_of(run_of(drawn(10)), 0)
    both = joined([one, one])
    assert len(set(both.key.tolist())) == 20
    assert list(both.at_s) == sorted(both.at_s)


def test_shared_weather_cancels_in_a_paired_ratio() -> None:
    rng = np.random.default_rng(3)
    weather = rng.normal(0.0, 1.0, 600)
    champion, challenger = (np.exp(weather + rng.normal(0.0, 0.05, 600)) for _ in range(2))
    tails = Tails(0.025, 0.025)
    paired = percentile_ratio(challenger, champion, percent=50, tails=tails)
    apart = percentile_ratio(challenger, rng.permutation(champion), percent=50, tails=tails)
    assert paired.low < 1 < paired.high
    assert paired.high - paired.low < (apart.high - apart.low) / 2


def test_intervals_cover_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    tails = Tails(0.025, 0.025)
    hits = 0
    for _ in range(120):
        values = np.exp(rng.normal(0.0, 0.5, 300))
        found = percentile_interval(values, percent=50, tails=tails)
        hits += found.low <= 1.0 <= found.high
    assert hits >= 104


def failures(count: int, total: int) -> npt.NDArray[np.bool_]:
    """Return failures that are spread evenly."""
    failed = np.zeros(total, dtype=np.bool_)
    failed[np.linspace(0, total - 1, count).astype(int)] = True
    return failed


def test_rates_without_failures_still_have_an_interval() -> None:
    tails = Tails(0.025, 0.025)
    none = failures(0, 300)
    found = rate_difference(none, none, tails)
    assert found.low < 0 < found.high < 0.02
    assert rate_interval(none, tails).low == 0.0
    assert rate_interval(~none, tails).high == 1.0
    worse = rate_difference(failures(30, 300), none, tails)
    assert 0.06 < worse.low < worse.value == pytest.approx(0.1)


def test_failures_that_come_in_a_burst_say_less_than_as_many_apart() -> None:
    burst = np.zeros(600, dtype=np.bool_)
    burst[200:260] = True
    tails = Tails(0.01, 0.01)
    apart, together = rate_interval(failures(60, 600), tails), rate_interval(burst, tails)
    assert together.low < apart.low < apart.high < together.high
    difference = burst.astype(np.float64)
    wide = rate_difference(burst, failures(0, 600), tails, paired=difference)
    assert wide.low < 0 < rate_difference(burst, failures(0, 600), tails).low


def test_students_quantiles() -> None:
    for tail, freedom, known in ((0.025, 11, 2.201), (0.0025, 19, 3.174), (0.0005, 29, 3.659), (3e-5, 29, 4.690)):
        assert student(tail, freedom) == pytest.approx(known, abs=0.002)


def load_at(rate: float, capacity: float, **kind: str) -> LoadResult:
    """Return what a server that saturates at `capacity` requests/s would show."""
    ttft_s = 0.05 if rate <= capacity else 0.5
    return result_of(run_of([stream(i, at=100.0 + i / rate, ttft_s=ttft_s) for i in range(60)], **kind))  # type: ignore[arg-type]


async def test_the_search_closes_in_on_the_capacity() -> None:
    for capacity in (3.0, 17.0, 60.0, 99.0):
        search = Search(min_rps=1.0, max_rps=100.0, tolerance=0.05, probes_max=20)

        async def measure(rate: float, capacity: float = capacity) -> LoadResult:
            return load_at(rate, capacity)

        found = await bracket(search, profile(search=search), measure)
        assert found.rate_rps is not None
        assert capacity / 1.06 <= found.rate_rps <= capacity
        assert found.bounded_by == "tolerance"


@pytest.mark.parametrize(
    ("capacity", "rate", "bound"), [(0.5, None, "min_rps"), (500.0, 100.0, "max_rps")], ids=["too slow", "too fast"]
)
async def test_the_search_says_when_it_met_a_bound(capacity: float, rate: float | None, bound: str) -> None:
    async def measure(probed: float) -> LoadResult:
        return load_at(probed, capacity)

    found = await bracket(Search(min_rps=1.0, max_rps=100.0), profile(), measure)
    assert (found.rate_rps, found.bounded_by) == (rate, bound)


async def test_an_aborted_probe_ends_the_search_and_counts_for_nothing() -> None:
    async def measure(rate: float) -> LoadResult:
        if rate > 2:
            return load_at(rate, 500.0, outcome="aborted", code="LOAD-023", reason="users suffer")
        return load_at(rate, 500.0)

    found = await bracket(Search(min_rps=1.0, max_rps=100.0), profile(), measure)
    assert (found.rate_rps, found.bounded_by) == (2.0, "stopped")
    assert "users suffer" in found.reason


async def test_a_probe_of_too_few_requests_is_no_answer() -> None:
    async def measure(rate: float) -> LoadResult:
        return result_of(run_of([stream(i, at=100.0 + i) for i in range(19)]))

    found = await bracket(Search(min_rps=1.0, max_rps=100.0), profile(slo=Slo(error_rate=0.01)), measure)
    assert (found.rate_rps, found.bounded_by, found.probes) == (None, "stopped", ())
    assert "only 19 requests were measured" in found.reason


@pytest.mark.parametrize(("rate_rps", "probe_s"), [(100.0, 5.0), (8.0, 5.0), (2.0, 20.0), (0.01, 600.0)])
def test_a_slow_probe_takes_longer_but_not_for_ever(rate_rps: float, probe_s: float) -> None:
    assert probe_seconds(Search(probe_s=5.0), rate_rps) == probe_s


async def test_a_search_needs_its_block() -> None:
    with pytest.raises(SluiceError) as caught:
        await find_capacity(profile(), TARGETS[0])
    assert caught.value.code == "LOAD-030"


def test_live_traffic_must_suffer_twice_in_a_row() -> None:
    calm = LiveFigures(requests=100, errors=1, ttft_ms=50.0, waiting=2.0)
    cases = [
        (LiveFigures(100, 10, 50.0, 2.0), "fail"),
        (LiveFigures(100, 1, 140.0, 2.0), "TTFT"),
        (LiveFigures(0, 0, None, 100.0), "wait"),
    ]
    for bad, word in cases:
        watch = LiveWatch(calm, LiveGuard())
        assert watch.reason(bad) is None
        assert watch.reason(calm) is None
        assert watch.reason(bad) is None
        assert word in (watch.reason(bad) or "")


def test_too_little_live_traffic_is_no_reason() -> None:
    watch = LiveWatch(LiveFigures(5, 0, 50.0), LiveGuard())
    assert [watch.reason(LiveFigures(5, 5, 900.0)) for _ in range(3)] == [None, None, None]
