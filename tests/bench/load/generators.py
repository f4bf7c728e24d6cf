"""The generators under test, each run for a few seconds at one rate as a child process pinned to one core.

Imports the standard library and the load engine's profile text. Called by the bench's search. Every generator sends the
same request: a chat completion of `TOKENS` tokens; every one says for each request id what TTFT it measured.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

TOKENS = 16
WARMUP_S = 2.0
ROOT = Path(__file__).resolve().parents[3]
AIPERF = ROOT / ".cache" / "aiperf" / "venv" / "bin" / "aiperf"
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class ClientView:
    """What a generator measured: request id → TTFT in seconds, the seconds it sent for, and CPU seconds if known."""

    ttft_s: dict[str, float]
    seconds: float
    cpu_s: float | None


@dataclass(frozen=True)
class Pin:
    """The core that a process is held to; `realtime` puts it before every ordinary program there (needs root)."""

    cpu: int
    realtime: bool = False

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return the command that starts another one so."""
        taskset = ("taskset", "-c", str(self.cpu))
        return ("chrt", "--rr", "1", *taskset) if self.realtime else taskset


class Generator(Protocol):
    """One load generator."""

    name: str
    first_rps: float

    def run(self, url: str, rate_rps: float, seconds: float, pin: Pin) -> ClientView:
        """Send `rate_rps` for `seconds` after a warm-up."""
        ...


class Engine:
    """This project's engine: open loop, TTFT from the scheduled time."""

    name = "sluice engine"
    first_rps = 1000.0

    def run(self, url: str, rate_rps: float, seconds: float, pin: Pin) -> ClientView:
        """Run the engine in a child."""
        command = [sys.executable, "-m", "tests.bench.load.engine_child", url, str(rate_rps), str(seconds)]
        answer = json.loads(_child(command, pin=pin, limit_s=seconds + 60).stdout)
        return ClientView(answer["ttft_s"], seconds, answer["cpu_s"])


class PlainLocust:
    """Locust: FastHttpUser, one request a second a user, `stream.readline`.

    Paced by locust's own `constant_throughput`, or (`spread`) by hand so that users never ask in step.
    """

    def __init__(self, *, spread: bool) -> None:
        self.name = "locust, users spread by hand" if spread else "locust, constant_throughput"
        self.first_rps = 200.0 if spread else 40.0
        self._spread = "1" if spread else "0"

    def run(self, url: str, rate_rps: float, seconds: float, pin: Pin) -> ClientView:
        """Run locust headless in a child."""
        users = max(1, round(rate_rps))
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "ttft.json"
            command = [sys.executable, "-m", "locust", "-f", str(_HERE / "plain_locust.py"), "--headless"]
            command += ["--host", url, "-u", str(users), "-r", str(users), "-t", f"{seconds + WARMUP_S:.0f}s"]
            command += ["--stop-timeout", "5", "--only-summary", "--loglevel", "ERROR"]
            extra = {"BENCH_OUT": str(out), "BENCH_WARMUP_S": str(WARMUP_S), "BENCH_TOKENS": str(TOKENS)}
            extra["BENCH_SPREAD"] = self._spread
            _child(command, pin=pin, limit_s=seconds + 60, extra=extra)
            answer = json.loads(out.read_text())
        return ClientView(answer["ttft_s"], max(answer["seconds"], 1e-3), answer["cpu_s"])


class Aiperf:
    """NVIDIA's aiperf from its own venv, all its processes on the one core."""

    name = "aiperf"
    first_rps = 10.0

    def run(self, url: str, rate_rps: float, seconds: float, pin: Pin) -> ClientView:
        """Run `aiperf profile` in a child and read its record export."""
        with tempfile.TemporaryDirectory() as folder:
            command = [str(AIPERF), "profile", "--model", "m", "--url", url, "--endpoint-type", "chat", "--streaming"]
            command += ["--tokenizer", str(_tokenizer(Path(folder))), "--request-rate", str(rate_rps)]
            command += [
                "--request-count",
                str(max(20, int(rate_rps * (seconds + WARMUP_S)))),
                "--output-tokens-mean",
                str(TOKENS),
            ]
            command += ["--synthetic-input-tokens-mean", "32", "--workers-max", "2", "--ui", "none"]
            command += ["--no-gpu-telemetry", "--no-server-metrics"]
            command += ["--artifact-dir", folder, "--export-level", "records"]
            _child(command, pin=pin, limit_s=seconds * 4 + 120)
            return _aiperf_view(Path(folder))


def _aiperf_view(folder: Path) -> ClientView:
    rows: list[tuple[float, str, float]] = []
    for path in folder.rglob("profile_export*.jsonl"):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            meta, metrics = record["metadata"], record["metrics"]
            if "time_to_first_token" in metrics:
                began_s = meta["request_start_ns"] / 1e9
                rows.append((began_s, meta["x_request_id"], metrics["time_to_first_token"]["value"] / 1e3))
    first = min((row[0] for row in rows), default=0.0)
    kept = [row for row in rows if row[0] >= first + WARMUP_S]
    seconds = max((row[0] for row in kept), default=0.0) - first - WARMUP_S
    return ClientView({name: ttft for _, name, ttft in kept}, max(seconds, 1e-3), None)


def _tokenizer(folder: Path) -> Path:
    """Return a folder with a word tokenizer made here; aiperf wants one and none can be downloaded."""
    script = _HERE / "make_tokenizer.py"
    path = folder / "tokenizer"
    subprocess.run([str(AIPERF.parent / "python"), str(script), str(path)], check=True, capture_output=True)
    return path


def _child(
    command: Sequence[str], *, pin: Pin, limit_s: float, extra: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command pinned to one core in its own process group; everything it started ends with it.

    Raises:
        RuntimeError: it failed or took longer than `limit_s`.
    """
    env = os.environ | {"PYTHONPATH": str(ROOT)} | (extra or {})
    child = subprocess.Popen(
        [*pin.prefix, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{command[0]} took longer than {limit_s:.0f} s") from None
    finally:
        _end_group(child.pid)
    if child.returncode not in (0, 1) or (child.returncode == 1 and "locust" not in command):
        raise RuntimeError(f"{' '.join(command[:4])} ended with {child.returncode}: {(err or out)[-600:]}")
    return subprocess.CompletedProcess(command, child.returncode, out, err)


def _end_group(group: int) -> None:
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, kind)
        except ProcessLookupError:
            return
        time.sleep(0.2)
