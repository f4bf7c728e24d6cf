"""Scenarios of counts: traffic, release, weights and settings of each, and how many runs it gets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from reconciler.core.judge import JudgeSettings, Protect
from tests.bench.judge.runs import beside
from tests.bench.judge.traffic import (
    EQUAL,
    FLAT,
    RAMP,
    Recording,
    Release,
    Schedule,
    Traffic,
    simulate,
    with_noise,
)

ROWS = (Protect("error_rate", 2.0), Protect("ttft", 1.2), Protect("ttft", 2.0, 0.10))

REGRESSIONS = {
    "errors 1 to 2 %": Release(error_ratio=2.0),
    "errors 1 to 5 %": Release(error_ratio=5.0),
    "TTFT x1.2": Release(ratio=1.2),
    "tail 10 % x2": Release(share=0.10, tail_ratio=2.0),
}
PROTECTED = ("errors 1 to 2 %", "TTFT x1.2", "tail 10 % x2")

STEADY = Traffic(drift=False, bursts=False)
LIVE = Traffic()
NOISY = with_noise(LIVE, 0.03)


class Noise(StrEnum):
    """Where the judge gets `noise` from."""

    DEFAULT = "default"
    NONE = "0"
    LEARNED = "learned"  # from an A/A hour of the same traffic


@dataclass(frozen=True)
class Case:
    """One scenario; `peers` runs thresholds and Kayenta beside the judge.

    A run is a rollout over `regions`, the challenger being `release` in `bad_regions` of them (None: in all). A `group`
    has its rows in the table by itself.
    """

    name: str
    traffic: Traffic
    release: Release
    schedule: Schedule
    runs: int
    noise: Noise = Noise.DEFAULT
    warmup_s: float = 0.0
    peers: bool = False
    group: str = ""
    duration_s: float = 1800.0
    regions: int = 1
    bad_regions: int | None = None

    @property
    def equal(self) -> bool:
        """Say whether the challenger is no worse."""
        return self.release == EQUAL

    def recording(self, runs: int, seed: int) -> Recording:
        """Return so many simulated rollouts, region by region."""
        bad = self.regions if self.bad_regions is None else self.bad_regions
        return beside(
            [
                simulate(
                    self.traffic, self.release if region < bad else EQUAL, self.schedule, runs=runs,
                    seed=seed + 1_000_003 * region, duration_s=self.duration_s,
                )
                for region in range(self.regions)
            ]
        )  # fmt: skip

    def settings(self, sigma: float | None = None) -> JudgeSettings:
        """Return the judge's settings, `sigma` being what an A/A hour taught."""
        base = JudgeSettings(protect=ROWS, warmup_s=self.warmup_s)
        match self.noise:
            case Noise.DEFAULT:
                return base
            case Noise.NONE:
                return replace(base, noise=0.0)
            case Noise.LEARNED:
                return replace(base, noise=base.noise if sigma is None else sigma)


def count_cases() -> tuple[Case, ...]:
    """Return every scenario of counts."""
    return (*_nulls(), *_regressions(), *_hard(), *_long(), *_regional())


def _nulls() -> tuple[Case, ...]:
    busy = replace(NOISY, requests_per_s=200.0)
    loud = with_noise(LIVE, 0.05)
    return (
        Case("null, drift and bursts, flat", LIVE, EQUAL, FLAT, 3000, peers=True),
        Case("null, drift and bursts, ramp", LIVE, EQUAL, RAMP, 4500),
        Case("null, 3 % arm noise, flat", NOISY, EQUAL, FLAT, 3000),
        Case("null, 3 % arm noise, ramp", NOISY, EQUAL, RAMP, 4500),
        Case("null, 200/s, 3 % arm noise, flat", busy, EQUAL, FLAT, 3000),
        Case("null, 200/s, 3 % arm noise, ramp", busy, EQUAL, RAMP, 3000),
        Case("null, 5 % arm noise, learned, flat", loud, EQUAL, FLAT, 3000, Noise.LEARNED),
        Case("null, 5 % arm noise, learned, ramp", loud, EQUAL, RAMP, 3000, Noise.LEARNED),
        Case("null, noise 0, drift and bursts, ramp", LIVE, EQUAL, RAMP, 3000, Noise.NONE),
        *_stalls(),
    )


def _regressions() -> tuple[Case, ...]:
    found: list[Case] = []
    for name, release in REGRESSIONS.items():
        dear = 2500 if name == "errors 1 to 2 %" else 1000  # the row that every limit of beta and alpha meets first
        found += [
            Case(f"{name}, steady, flat", STEADY, release, FLAT, dear, peers=True),
            Case(f"{name}, steady, flat, noise 0", STEADY, release, FLAT, 1000, Noise.NONE),
            Case(f"{name}, drift, flat", LIVE, release, FLAT, dear, peers=True),
            Case(f"{name}, drift, flat, quiet learned", LIVE, release, FLAT, 1000, Noise.LEARNED),
            Case(f"{name}, drift, ramp", LIVE, release, RAMP, dear),
        ]
    return tuple(found)


def _hard() -> tuple[Case, ...]:
    outage, storms = replace(LIVE, outage_ticks=4), replace(LIVE, storms=True)
    cold = replace(LIVE, cold_ratio=1.5)
    prompts = replace(LIVE, modes=((0.75, 0.0), (0.25, 1.7917594692280550)))
    sparse = replace(LIVE, requests_per_s=0.5)
    errors, five, slow, tail = REGRESSIONS.values()
    return (
        Case("outage of four ticks: null, flat", outage, EQUAL, FLAT, 400),
        Case("outage of four ticks: errors x2, flat", outage, errors, FLAT, 400),
        Case("retry storms: null, flat", storms, EQUAL, FLAT, 400),
        Case("retry storms: null, ramp", storms, EQUAL, RAMP, 400),
        Case("first minute x1.5: null, flat, warmup 60 s", cold, EQUAL, FLAT, 400, warmup_s=60.0),
        Case("first minute x1.5: null, ramp, warmup 60 s", cold, EQUAL, RAMP, 400, warmup_s=60.0),
        Case("first minute x1.5: null, flat, no warmup", cold, EQUAL, FLAT, 300),
        Case("a quarter of prompts 6x longer: null, flat", prompts, EQUAL, FLAT, 400),
        Case("a quarter of prompts 6x longer: TTFT x1.2, flat", prompts, slow, FLAT, 300),
        Case("a quarter of prompts 6x longer: tail, flat", prompts, tail, FLAT, 300),
        Case("0.5 requests/s: null, flat", sparse, EQUAL, FLAT, 400),
        Case("0.5 requests/s: errors x5, flat", sparse, five, FLAT, 300),
        Case("told 10 %, 5 % arrive: null", replace(LIVE, arriving_pct=5.0), EQUAL, FLAT, 400),
        Case("told 10 %, 20 % arrive: null", replace(LIVE, arriving_pct=20.0), EQUAL, FLAT, 400),
        Case("the weight lags by a minute: null, ramp", replace(LIVE, lag_s=60.0), EQUAL, RAMP, 1000),
        Case("3 % noise that wanders over 20 s: null, ramp", replace(NOISY, arm_memory_s=20.0), EQUAL, RAMP, 400),
        Case("3 % noise that wanders over 300 s: null, ramp", replace(NOISY, arm_memory_s=300.0), EQUAL, RAMP, 400),
        Case("5 % arm noise at the default: null, flat", with_noise(LIVE, 0.05), EQUAL, FLAT, 400),
        Case("tail 10 % x2, 3 % arm noise, flat", NOISY, tail, FLAT, 400),
    )


def _stalls() -> tuple[Case, ...]:
    """Return releases that are equal, and whose servers stall each at its own moments: late requests come in crowds."""
    return tuple(
        Case(f"null, {rate:g}/s, {n:g} stalls of {s:g} s an hour, {way}", stalling, EQUAL, weights, 3000)
        for rate, s, n in ((20.0, 0.5, 60.0), (200.0, 0.5, 60.0), (20.0, 3.0, 20.0), (200.0, 3.0, 20.0))
        for way, weights in (("flat", FLAT), ("ramp", RAMP))
        for stalling in (replace(LIVE, requests_per_s=rate, stall_s=s, stalls_per_h=n),)
    )


HOURS: Schedule = ((1200.0, 1.0), (2400.0, 5.0), (4800.0, 10.0), (7200.0, 25.0), (math.inf, 50.0))


def _long() -> tuple[Case, ...]:
    """Return ramps of three hours, on which a judgement follows each promotion."""
    three = 3.0 * 3600.0
    group = "ramps of three hours"
    return tuple(
        Case(f"3 h: {name}", traffic, release, HOURS, runs, group=group, duration_s=three)
        for name, traffic, release, runs in (
            ("equal, drift and bursts", LIVE, EQUAL, 2500),
            ("equal, 50/s, 3 % arm noise", replace(NOISY, requests_per_s=50.0), EQUAL, 2500),
            ("errors 1 to 2 %", LIVE, REGRESSIONS["errors 1 to 2 %"], 125),
            ("TTFT x1.2, 50/s, 3 % arm noise", replace(NOISY, requests_per_s=50.0), REGRESSIONS["TTFT x1.2"], 125),
        )
    )


def _regional() -> tuple[Case, ...]:
    """Return rollouts over several regions with one verdict."""
    group = "regions"
    errors = REGRESSIONS["errors 1 to 2 %"]
    nulls = tuple(
        Case(f"{n} regions: equal, 3 % arm noise", NOISY, EQUAL, RAMP, runs, group=group, duration_s=900.0, regions=n)
        for n, runs in ((3, 1000), (10, 3000), (20, 600))
    )
    found = tuple(
        Case(f"{n} regions: errors 1 to 2 % in {bad}", LIVE, errors, FLAT, 125, group=group, regions=n, bad_regions=bad)
        for n, bad in ((1, 1), (3, 3), (10, 10), (10, 1))
    )
    return (*nulls, *found)
