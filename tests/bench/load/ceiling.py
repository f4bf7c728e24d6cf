"""Finds how many streams a second a generator sustains on one core while its TTFT is still right.

Imports numpy and the bench's generators. The error of a request is the client's TTFT minus the server's own stamp.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from tests.bench.load.generators import Generator, Pin

ERROR_MAX_MS = 5.0
SERVED_MIN = 0.95
TOLERANCE = 1.1
TRIES = 4
TTFT_S, ITL_S = 0.02, 0.01


@dataclass(frozen=True)
class Trial:
    """One run at one rate. Errors in milliseconds; `foreign_cpu` is what other programs used of the two cores."""

    asked_rps: float
    served_rps: float
    error_p50_ms: float
    error_p99_ms: float
    samples: int
    cpu_ms_per_stream: float | None
    foreign_cpu: float

    @property
    def kept(self) -> bool:
        """Return whether the generator sent what it was asked and timed it to within 5 ms at the 99th percentile."""
        return self.served_rps >= SERVED_MIN * self.asked_rps and self.error_p99_ms <= ERROR_MAX_MS


@contextmanager
def pinned_server(pin: Pin) -> Iterator[str]:
    """Run the stamping server on one core and yield its URL."""
    command = [sys.executable, "-m", "tests.support.servers.sse_server", "--ttft-s", str(TTFT_S), "--itl-s", str(ITL_S)]
    server = subprocess.Popen([*pin.prefix, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{json.loads(server.stdout.readline())['port']}"
    finally:
        server.kill()
        server.wait()


def trial(generator: Generator, rate_rps: float, *, seconds: float, pins: tuple[Pin, Pin]) -> Trial:
    """Run the generator on `pins[0]` against a fresh server on `pins[1]`."""
    before, began = _busy_s(), perf_counter()
    with pinned_server(pins[1]) as url:
        view = generator.run(url, rate_rps, seconds, pins[0])
        with urllib.request.urlopen(url + "/stamps", timeout=10) as answer:
            stamps: dict[str, float] = json.load(answer)["ttft_s"]
    total, mine = (now - then for now, then in zip(_busy_s(), before, strict=True))
    by_id = {_bare(name): value for name, value in stamps.items()}
    errors = np.array([value - by_id[name] for name, value in view.ttft_s.items() if name in by_id]) * 1e3
    if len(errors) < 20:
        return Trial(rate_rps, len(errors) / view.seconds, float("inf"), float("inf"), len(errors), None, 0.0)
    p50, p99 = np.percentile(errors, (50, 99))
    cpu_ms = None if view.cpu_s is None else view.cpu_s / len(errors) * 1e3
    foreign = max(0.0, total - mine) / (perf_counter() - began)
    served = len(errors) / view.seconds
    return Trial(rate_rps, served, float(p50), float(p99), len(errors), cpu_ms, foreign)


def ceiling(generator: Generator, run: Callable[[float], Trial], *, top_rps: float) -> tuple[float, list[Trial]]:
    """Return the highest rate that was kept and all trials: up by half from the generator's first rate, then bisected.

    A rate counts as broken when it broke in every one of four tries: hiccups of a shared machine must not decide.
    """
    trials: list[Trial] = []

    def kept(rate: float) -> bool:
        for _ in range(TRIES):
            trials.append(run(rate))
            if trials[-1].kept:
                return True
        return False

    low, high, rate = 0.0, float("inf"), generator.first_rps
    while high / max(low, 1e-9) > TOLERANCE and rate <= top_rps and rate >= 1.0:
        low, high = (rate, high) if kept(rate) else (low, rate)
        rate = low * 1.5 if high == float("inf") else (low * high) ** 0.5 if low else high / 2
    return low, trials


def _bare(request_id: str) -> str:
    """Return a request id without the engine's salt; other generators' ids have none."""
    salt, _, rest = request_id.partition("-")
    return rest if len(salt) == 8 and rest.count("-") == 2 else request_id


def _busy_s() -> tuple[float, float]:
    """Return CPU seconds used so far by the whole machine and by this process with the children it has waited for."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(part) for part in file.readline().split()[1:]]
    idle = ticks[3] + ticks[4]
    used = os.times()
    mine = used.user + used.system + used.children_user + used.children_system
    return (sum(ticks[:8]) - idle) / os.sysconf("SC_CLK_TCK"), mine
