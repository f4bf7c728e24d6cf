"""The engine under locust: one user a worker starts the engine and reports every request into locust's statistics.

`locust -f loadtests/locustfile.py --load-profile FILE --load-allow URL --load-model NAME --host URL`

Imports locust, and no engine: the engine runs as a child process, because locust patches the sockets of its own one.
locust's web page, CSV files and master with workers stay as they are. Each of n workers sends every n-th request of
the profile, so that together they send it once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from locust import LoadTestShape, User, events, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

_TOGETHER_S = 2.0
_ROOT = Path(__file__).resolve().parent.parent


def _add_options(parser: Any) -> None:
    group = parser.add_argument_group("Sluice load engine")
    group.add_argument("--load-profile", env_var="SLUICE_LOAD_PROFILE", default="loadtests/profiles/chat.yaml")
    group.add_argument(
        "--load-allow", env_var="SLUICE_LOAD_ALLOW", default="", help="URLs that may be loaded, by comma"
    )
    group.add_argument("--load-model", env_var="SLUICE_LOAD_MODEL", default="")
    group.add_argument("--load-slot", env_var="SLUICE_LOAD_SLOT", default="")


def _listen(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, MasterRunner):
        environment.runner.register_message("load_done", _worker_done)


def _share_out(environment: Environment, **_: Any) -> None:
    """Give every worker its part and one moment to begin at; locust carries both there with the spawn message."""
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        workers = sorted(node.id for node in (*runner.clients.ready, *runner.clients.running, *runner.clients.spawning))
        options: Any = environment.parsed_options
        options.load_shards = {name: [index, len(workers)] for index, name in enumerate(workers)}
        options.load_start_at = time.time() + _TOGETHER_S
        EngineShape.users = EngineShape.left = len(workers)
    elif isinstance(runner, LocalRunner):
        EngineShape.users = EngineShape.left = 1


HOOKS: Any = events
HOOKS.init_command_line_parser.add_listener(_add_options)
HOOKS.init.add_listener(_listen)
HOOKS.test_start.add_listener(_share_out)


def _worker_done(environment: Environment, msg: Any, **_: Any) -> None:
    EngineShape.left -= 1


class EngineShape(LoadTestShape):
    """One user a worker, until every worker has said that its part is over."""

    left = 1
    users = 0

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there must be; None ends the test."""
        if EngineShape.left <= 0:
            return None
        workers = self.runner.worker_count if isinstance(self.runner, MasterRunner) else 1
        users = EngineShape.users or max(1, workers)
        return users, float(users)


class EngineUser(User):
    """Starts the engine on this worker's part of the profile and waits for it."""

    @task
    def drive(self) -> None:
        """Run the engine to its end; locust's `stop` ends it early."""
        shard = _shard(self.environment)
        if shard is None:
            _fire(self.environment, "run", 0.0, 0, "LOAD-040: this worker joined after the start; it sends nothing")
            raise StopUser
        child = subprocess.Popen(
            _command(self.environment, shard),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])},
        )
        try:
            self._follow(child)
        finally:
            child.kill()
            child.communicate()
        self._report_end()
        raise StopUser

    def _follow(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        assert child.stderr is not None
        for line in child.stdout:
            message = json.loads(line)
            for finished in message.get("done", ()):
                _report(self.environment, finished)
            result = message.get("result")
            if result is not None and result["outcome"] != "completed":
                _fire(self.environment, "run", 0.0, 0, f"{result['code']}: {result['reason']}")
        if child.wait() == 1:
            _fire(self.environment, "run", 0.0, 0, child.stderr.read().strip())

    def _report_end(self) -> None:
        runner = self.environment.runner
        if isinstance(runner, WorkerRunner):
            runner.send_message("load_done")
        else:
            EngineShape.left -= 1


def _shard(environment: Environment) -> tuple[int, int] | None:
    """Return this process's part of the load, None for a worker that was not there when parts were given out."""
    options: Any = environment.parsed_options
    if not isinstance(environment.runner, WorkerRunner):
        return 0, 1
    part = options.load_shards.get(environment.runner.client_id)
    return None if part is None else (part[0], part[1])


def _command(environment: Environment, shard: tuple[int, int]) -> list[str]:
    options: Any = environment.parsed_options
    start_in_s = max(0.0, getattr(options, "load_start_at", 0.0) - time.time())
    command = [sys.executable, "-m", "loadtests", "--events", "--profile", options.load_profile]
    command += ["--url", environment.host or "", "--model", options.load_model]
    command += ["--shard", f"{shard[0]}/{shard[1]}", "--start-in-s", f"{start_in_s:.3f}"]
    for url in filter(None, (part.strip() for part in options.load_allow.split(","))):
        command += ["--allow", url]
    return [*command, "--slot", options.load_slot] if options.load_slot else command


def _report(environment: Environment, finished: list[Any]) -> None:
    """Report one request as two rows: time to first token, and the whole answer, which carries the failure."""
    ttft_ms, e2e_ms, tokens, outcome, detail = finished
    if ttft_ms is not None:
        _fire(environment, "ttft", ttft_ms, 0, None)
    _fire(environment, "answer", e2e_ms, tokens, None if outcome == "ok" else f"{outcome}: {detail}")


def _fire(environment: Environment, name: str, ms: float, length: int, failure: str | None) -> None:
    hook: Any = environment.events.request
    hook.fire(
        request_type="SSE",
        name=name,
        response_time=ms,
        response_length=length,
        exception=None if failure is None else RuntimeError(failure),
        context={},
        start_time=time.time() - ms / 1e3,
        url=environment.host,
    )
