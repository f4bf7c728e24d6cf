"""A small tour over Triton: a good release is promoted by the judge, one that fails is rolled back. `make demo-triton`.

Imports this package's parts. Every step is a command that a user could type.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from environments.here import module
from reconciler.demo.tour import free_port
from reconciler.demo.triton_engine import ensure_triton
from reconciler.demo.triton_models import make_models
from reconciler.demo.watchdog import Watchdog, end_group

Say = Callable[[str], None]
ENVIRONMENT = "triton"
RATE_RPS = 60.0
ACTS = (
    ("v2", 0, "a model that knows a word more: the canary has to let it through"),
    ("v3", 4, "a model that fails where it knows no word of a question: the canary has to see it"),
)
"""Model, the exit code that has to follow, and what is shown."""
ENGINE = {"instance_count": 1, "warmup_request": {"QUESTION": "where is my parcel"}}
"""Without a request of its own a model is warmed up with a text in which these find no word that they know."""
_STEPS = len(ACTS) + 3
_PROGRAM = (sys.executable, "-m", module("reconciler.cli.main"))


def tour(cache: Path, say: Say) -> int:
    """Run the tour and return its exit code: 0 when everything ended as it should, 1 otherwise."""
    began, folder = time.monotonic(), cache / "demo-triton"
    say(f"1/{_STEPS}  Triton for CPU (kept in .cache/) and three models of a few lines of Python")
    serve = ensure_triton(cache, say)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "environments").mkdir(parents=True)
    make_models(folder / "models")
    watchdog = Watchdog(folder / "state", ENVIRONMENT)
    try:
        good = _play(Stage(folder, serve, free_port(18080), watchdog, say), watchdog, say)
    finally:
        say(f"{_STEPS}/{_STEPS}  ending every process")
        watchdog.finish()
    say(f"{'done' if good else 'NOT as it should be'} after {time.monotonic() - began:.0f} s; nothing is left running")
    return 0 if good else 1


def _play(stage: Stage, watchdog: Watchdog, say: Say) -> bool:
    say(f"2/{_STEPS}  the first deployment: models/v1")
    stage.declare("v1")
    if stage.sluice("apply", ENVIRONMENT, "--yes") != 0:
        return False
    say(f"     clients: {RATE_RPS:g} requests a second to {stage.url}/infer")
    clients = stage.clients()
    watchdog.guard(clients)
    as_told = all(stage.act(number, *act) for number, act in enumerate(ACTS, start=3))
    stage.sluice("status", ENVIRONMENT)
    verified = stage.sluice("ledger", "verify", ENVIRONMENT) == 0
    end_group(clients.pid)
    clients.wait(timeout=30)
    return as_told and verified


class Stage:
    """The tour's folder: an environment file of its own, state, and what the clients counted."""

    def __init__(self, folder: Path, serve: Path, port: int, watchdog: Watchdog, say: Say) -> None:
        self._folder, self._serve, self._port, self._watchdog, self._say = folder, serve, port, watchdog, say
        self._report = folder / "clients.json"
        self._environ = {
            **os.environ,
            "SLUICE_HOME": str(folder / "state"),
            "SLUICE_ENVIRONMENTS": str(folder / "environments"),
        }

    @property
    def url(self) -> str:
        """Return where clients reach the model."""
        return f"http://127.0.0.1:{self._port}/chat/v2/models/chat"

    def declare(self, model: str) -> None:
        """Write the environment file with this model; JSON is YAML."""
        text = json.dumps(environment(model, str(self._serve), self._port), indent=2)
        (self._folder / "environments" / f"{ENVIRONMENT}.yaml").write_text(text)

    def act(self, number: int, model: str, exit_code: int, title: str) -> bool:
        """Declare a model, apply it, and say what clients saw: only a challenger may fail, and only where it has to."""
        self._say(f"{number}/{_STEPS}  models/{model}: {title}")
        self.declare(model)
        serving, before = self.serving(), self.counted()
        code = self.sluice("apply", ENVIRONMENT, "--yes")
        seen = self.counted() - before
        failed = {name: n for name, n in seen.items() if name.startswith("failed")}
        lost = sum(n for name, n in failed.items() if name.endswith((f"by {serving}", "by nobody")))
        self._say(f"     exit code {code}; {seen.total()} requests, {sum(failed.values())} failed by the challenger")
        return code == exit_code and seen.total() > 0 and lost == 0 and bool(failed) == (exit_code != 0)

    def serving(self) -> str:
        """Return the release that serves now."""
        answer = subprocess.run([*_PROGRAM, "status", ENVIRONMENT, "--json"], env=self._environ, stdout=subprocess.PIPE)
        return str(json.loads(answer.stdout)["endpoints"][0]["serving"])

    def clients(self) -> subprocess.Popen[bytes]:
        """Start the clients and wait for their first answers."""
        program = [sys.executable, "-m", module("reconciler.demo.triton_traffic")]
        process = subprocess.Popen([*program, self.url, str(self._report), str(RATE_RPS)], start_new_session=True)
        deadline = time.monotonic() + 60
        while self.counted().total() < 20 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
        return process

    def counted(self) -> Counter[str]:
        """Return the requests up to now, by how and by whom they were ended."""
        try:
            return Counter(json.loads(self._report.read_text()))
        except FileNotFoundError:
            return Counter()

    def sluice(self, *arguments: str) -> int:
        """Run a command as a user would, after saying which."""
        self._say(f"\n$ sluice {' '.join(arguments)}")
        return self._watchdog.run([*_PROGRAM, *arguments], self._environ)


def environment(model: str, serve: str, port: int) -> dict[str, Any]:
    """Return the tour's environment: one endpoint on Triton, whose errors the judge compares."""
    return {
        "environment": ENVIRONMENT,
        "owner": "you",
        "store": "sqlite:///.sluice/triton.db",
        "regions": {"local": {"platform": "local", "gateway_port": port, "serve_command": [serve]}},
        "endpoints": {
            "chat": {
                "team": "demo",
                "runtime": "triton",
                "gpus_per_replica": 0,
                "slo": {"error_rate": 0.05},
                "release": {"model": f"file:models/{model}", "engine": ENGINE},
                "rollout": {
                    "steps_pct": [10, 50],
                    "step_min_s": 2,
                    "step_max_s": 120,
                    "warmup_requests": 4,
                    "bake_s": 3,
                    "judge": {"tick_s": 1, "warmup_s": 0, "protect": [{"metric": "error_rate", "ratio": 4}]},
                },
            }
        },
    }


if __name__ == "__main__":
    sys.exit(tour(Path(".cache").absolute(), lambda line: print(line, flush=True)))
