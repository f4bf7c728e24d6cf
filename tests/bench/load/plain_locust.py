"""Plain locust, as a user of locust would time streams: the rival of the bench, started by it with `locust -f`.

Imports locust. Writes what it measured to the file that `BENCH_OUT` names.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant_throughput, events, task

_TTFT_S: dict[str, float] = {}
_NUMBERS = itertools.count()
_IN_STEP = constant_throughput(1)
_CLOCK = {"began": 0.0, "cpu": 0.0, "measured": 0.0}
_BODY = {
    "model": "m",
    "max_tokens": int(os.environ.get("BENCH_TOKENS", "16")),
    "stream": True,
    "messages": [{"role": "user", "content": "word " * 32}],
}


class StreamUser(FastHttpUser):
    """Asks once a second and reads the answer line by line."""

    def on_start(self) -> None:
        """Begin at a random moment of the first second."""
        self.due = time.perf_counter() + random.random()
        gevent.sleep(max(0.0, self.due - time.perf_counter()))

    def wait_time(self) -> float:
        """Return the time to this user's next request.

        locust's own `constant_throughput` makes up for a late start, which brings all users back into step: their
        requests come in one burst a second. `BENCH_SPREAD=1` keeps them apart, which is the best that locust can do.
        """
        if os.environ.get("BENCH_SPREAD") != "1":
            return float(_IN_STEP(self))
        self.due += 1.0
        return max(0.0, self.due - time.perf_counter())

    @task
    def ask(self) -> None:
        """Time one streaming answer."""
        name = str(next(_NUMBERS))
        began = time.perf_counter()
        first = 0.0
        with self.client.post(
            "/v1/chat/completions", json=_BODY, headers={"X-Request-Id": name}, stream=True, catch_response=True
        ) as answer:
            while line := answer.stream.readline(b"\n"):
                if not first and b'"content":' in line and b'"content":""' not in line:
                    first = time.perf_counter()
                if line.startswith(b"data: [DONE]"):
                    break
            answer.stream.read()
            answer.success()
        measured_s = began - _CLOCK["began"] - float(os.environ.get("BENCH_WARMUP_S", "2"))
        if first and measured_s > 0:
            _TTFT_S[name] = first - began
            _CLOCK["measured"] = max(_CLOCK["measured"], measured_s)


def _start(**_: Any) -> None:
    _CLOCK["began"], _CLOCK["cpu"] = time.perf_counter(), time.process_time()


def _quit(**_: Any) -> None:
    cpu_s = time.process_time() - _CLOCK["cpu"]
    answer = {"ttft_s": _TTFT_S, "cpu_s": cpu_s, "seconds": _CLOCK["measured"]}
    Path(os.environ["BENCH_OUT"]).write_text(json.dumps(answer))


HOOKS: Any = events
HOOKS.test_start.add_listener(_start)
HOOKS.quitting.add_listener(_quit)
