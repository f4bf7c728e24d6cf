"""The typed load profile: which requests, how many, how fast, how long at most, and what counts as good.

Pure: no I/O, no clock. `loadtests.profile_file` turns YAML into these types; everything else only reads them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, StringConstraints, model_validator

from environments.strict import Strict

RATE_MAX_RPS = 10_000
DURATION_MAX_S = 3_600
REQUESTS_MAX = 1_000_000
TOKENS_MAX = 200_000

Rate = Annotated[float, Field(gt=0, le=RATE_MAX_RPS)]
Seconds = Annotated[float, Field(ge=0, le=DURATION_MAX_S)]
Tokens = Annotated[int, Field(ge=1, le=TOKENS_MAX)]
Share = Annotated[float, Field(gt=0, lt=1)]
Metric = Literal["ttft_p50", "ttft_p95", "itl_p50", "itl_p95", "e2e_p50", "e2e_p95", "error_rate"]
DEFAULT_METRICS: tuple[Metric, ...] = ("ttft_p50", "ttft_p95", "itl_p50", "error_rate")
T = TypeVar("T", bound=BaseModel)


class Poisson(Strict):
    """Independent arrivals: exponential gaps with a mean of `1 / rate_rps`."""

    kind: Literal["poisson"]
    rate_rps: Rate


class Constant(Strict):
    """Arrivals at equal gaps."""

    kind: Literal["constant"]
    rate_rps: Rate


class Ramp(Strict):
    """Poisson arrivals whose rate goes from `from_rps` to `to_rps` in a straight line."""

    kind: Literal["ramp"]
    from_rps: Annotated[float, Field(ge=0, le=RATE_MAX_RPS)]
    to_rps: Rate


class Spike(Strict):
    """Poisson arrivals at `rate_rps`, and at `spike_rps` for `spike_s` seconds from `spike_at_s` on."""

    kind: Literal["spike"]
    rate_rps: Rate
    spike_rps: Rate
    spike_at_s: Seconds
    spike_s: PositiveFloat


class Trace(Strict):
    """Recorded arrivals: a JSON object a line, `{"at_s": 0.31, "prompt_tokens": 120, "output_tokens": 48}`.

    `file` is relative to the profile; the two token counts are optional; `speed` 2.0 replays twice as fast.
    """

    kind: Literal["trace"]
    file: Annotated[str, StringConstraints(min_length=1)]
    speed: Annotated[float, Field(gt=0, le=1000)] = 1.0


Arrivals = Annotated[Poisson | Constant | Ramp | Spike | Trace, Field(discriminator="kind")]


class FixedLength(Strict):
    """Always the same number of tokens."""

    kind: Literal["fixed"]
    tokens: Tokens


class UniformLength(Strict):
    """Every length from `min` to `max` is as likely."""

    kind: Literal["uniform"]
    min: Tokens
    max: Tokens

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _ordered(self)


class LognormalLength(Strict):
    """Lengths as chat logs have them: many short, few long. `sigma` is the log standard deviation."""

    kind: Literal["lognormal"]
    median: Tokens
    sigma: Annotated[float, Field(ge=0, le=3)]
    min: Tokens = 1
    max: Tokens = 8192

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _ordered(self)


class ChoiceLength(Strict):
    """One of `tokens`, each as often as its `weights` say (default: equally often)."""

    kind: Literal["choice"]
    tokens: Annotated[list[Tokens], Field(min_length=1)]
    weights: list[PositiveFloat] | None = None

    @model_validator(mode="after")
    def _matching(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.tokens):
            raise ValueError(f"{len(self.weights)} weights for {len(self.tokens)} lengths")
        return self


Length = Annotated[FixedLength | UniformLength | LognormalLength | ChoiceLength, Field(discriminator="kind")]


class Sessions(Strict):
    """Conversations: each arrival opens one, and its next turn comes `think_s` after the answer to the last.

    A later turn carries the whole conversation so far, with made-up answers of the lengths that were asked for, so
    that two targets get the same bytes.
    """

    turns: Length
    think_s: Seconds = 1.0


class Slo(Strict):
    """What the target must keep: latencies in milliseconds at the 95th percentile, errors as a share of requests."""

    ttft_p95_ms: PositiveFloat | None = None
    itl_p95_ms: PositiveFloat | None = None
    e2e_p95_ms: PositiveFloat | None = None
    error_rate: Share | None = None

    @property
    def empty(self) -> bool:
        """Return whether nothing is promised."""
        return not self.model_dump(exclude_none=True)


class Search(Strict):
    """How the highest rate that keeps the SLO is looked for: double from `min_rps`, then bisect to `tolerance`."""

    min_rps: Rate = 1.0
    max_rps: Rate = 200.0
    probe_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    tolerance: Annotated[float, Field(ge=0.01, le=0.5)] = 0.1
    probes_max: Annotated[int, Field(ge=2, le=40)] = 14

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _ordered(self, low="min_rps", high="max_rps")


class Compare(Strict):
    """How two targets are compared. Rounds stop as soon as the verdict is clear; `confidence` is that of a PASS.

    `error_rate_margin` is how many more requests of the challenger may fail, as a share of all.
    """

    metrics: Annotated[list[Metric], Field(min_length=1)] = list(DEFAULT_METRICS)
    confidence: Annotated[float, Field(ge=0.5, le=0.999)] = 0.95
    error_rate_margin: Share = 0.01


class LiveGuard(Strict):
    """When to stop because the champion's own users suffer; each limit must be passed on two polls in a row."""

    poll_s: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    ttft_ratio: Annotated[float, Field(gt=1, le=100)] = 2.0
    error_rate: Share = 0.05
    waiting_max: PositiveInt = 64


class Profile(Strict):
    """One load profile. Times in seconds, lengths in tokens (a made-up word is taken as one token).

    `late_ms`: how late the generator itself may be before latencies of that second are left out; a quarter of the
    fastest median TTFT is always allowed. Raise it only where medians are compared and cores are shared.
    `ignore_eos` asks vLLM for answers of exactly the length drawn; turn it off for servers that refuse the key.
    With `sessions`, arrivals open conversations and `max_requests` bounds their turns together.
    """

    profile: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    api: Literal["chat", "completions"] = "chat"
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    arrivals: Arrivals
    duration_s: Annotated[float, Field(gt=0, le=DURATION_MAX_S)]
    warmup_s: Seconds = 5.0
    prompt_tokens: Length = FixedLength(kind="fixed", tokens=128)
    shared_prefix_tokens: Annotated[int, Field(ge=0, le=TOKENS_MAX)] = 0
    output_tokens: Length = FixedLength(kind="fixed", tokens=32)
    sessions: Sessions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    ignore_eos: bool = True
    max_in_flight: Annotated[int, Field(ge=1, le=20_000)] = 256
    max_requests: Annotated[int, Field(ge=1, le=REQUESTS_MAX)] = 20_000
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    late_ms: Annotated[float, Field(ge=0, le=10_000)] = 5.0
    slo: Slo = Slo()
    search: Search | None = None
    compare: Compare = Compare()
    live_guard: LiveGuard = LiveGuard()

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        expected = self.expected_arrivals
        if expected is not None and expected > self.max_requests:
            raise ValueError(f"about {expected:.0f} arrivals are planned, and `max_requests` is {self.max_requests}")
        if self.search is not None and self.slo.empty:
            raise ValueError("`search` looks for the highest rate that keeps the SLO, and `slo` is empty")
        return self

    @property
    def expected_arrivals(self) -> float | None:
        """Return how many arrivals are expected after the warm-up; None for a trace, whose file says."""
        match self.arrivals:
            case Poisson(rate_rps=rate) | Constant(rate_rps=rate):
                return rate * self.duration_s
            case Ramp(from_rps=low, to_rps=high):
                return (low + high) / 2 * self.duration_s
            case Spike() as spike:
                spiked_s = max(0.0, min(spike.spike_s, self.duration_s - spike.spike_at_s))
                return spike.rate_rps * self.duration_s + (spike.spike_rps - spike.rate_rps) * spiked_s
            case Trace():
                return None

    @property
    def warmup_rps(self) -> float:
        """Return the rate of the warm-up: what the load begins with, so that its connections are open by then."""
        match self.arrivals:
            case Poisson(rate_rps=rate) | Constant(rate_rps=rate) | Spike(rate_rps=rate):
                return rate
            case Ramp(from_rps=low):
                return max(1.0, low)
            case Trace():
                return 2.0


def at_rate(profile: Profile, rate_rps: float, duration_s: float) -> Profile:
    """Return `profile` with Poisson arrivals at another rate for another time, bounds widened to what that needs."""
    changes = {
        "arrivals": Poisson(kind="poisson", rate_rps=rate_rps),
        "duration_s": duration_s,
        "max_requests": min(REQUESTS_MAX, max(profile.max_requests, int(rate_rps * duration_s * 1.5) + 10)),
    }
    return profile.model_copy(update=changes)


def _ordered(block: T, *, low: str = "min", high: str = "max") -> T:
    if getattr(block, low) > getattr(block, high):
        raise ValueError(f"`{low}` {getattr(block, low)} is greater than `{high}` {getattr(block, high)}")
    return block
