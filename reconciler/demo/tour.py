"""The demo's script: what is shown, in which order, with what is measured on the way.

Imports this package's parts; `sluice demo` calls `tour`. Every step is a command that a user could type.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from environments.errors import SluiceError
from environments.here import module
from reconciler.demo.engines import ensure_vllm, serve_command
from reconciler.demo.mlflow import address_of, register, start_mlflow
from reconciler.demo.models import ensure_models
from reconciler.demo.watchdog import Watchdog, end_group

Say = Callable[[str], None]
RATE_RPS = 20.0
ENVIRONMENT = "local"
PROMPTS = {"v1": "You answer in one short sentence.", "v2": "You answer in one short sentence, kindly."}


@dataclass(frozen=True)
class Act:
    """One act: what is declared, the exit code that has to follow, and whether users may meet rejections on the way."""

    title: str
    model: int
    exit_code: int
    context: int = 2048
    rejects: bool = False


ACTS = (
    Act("a new model and a new prompt, as good as the old ones: through all three gates", model=2, exit_code=0),
    Act("a model that sends 5 % of the questions to the wrong team: the eval gate has to see it", model=3, exit_code=4),
    Act("a model with sixteen times the layers, right but slow: the load gate has to see it", model=4, exit_code=4),
    Act(
        "the good model with a short context, which rejects long questions: the canary has to see it",
        model=2, exit_code=4, context=256, rejects=True,
    ),
)  # fmt: skip
_STEPS = len(ACTS) + 4
_PROGRAM = (sys.executable, "-m", module("reconciler.cli.main"))


def tour(cache: Path, repository: Path, say: Say) -> int:
    """Run the whole demo and return its exit code: 0 when everything ended as it should, 1 otherwise."""
    began = time.monotonic()
    folder = cache / "demo"
    say(f"1/{_STEPS}  vLLM for CPU and four small models (kept in .cache/)")
    ensure_vllm(cache, say)
    models = ensure_models(cache, say)
    _clear(folder)
    watchdog = Watchdog(folder / "state", ENVIRONMENT)
    try:
        good = _play(folder, repository, cache, models, watchdog, say)
    finally:
        say(f"{_STEPS}/{_STEPS}  ending every process")
        watchdog.finish()
    say(f"{'done' if good else 'NOT as it should be'} after {time.monotonic() - began:.0f} s; nothing is left running")
    return 0 if good else 1


def _play(folder: Path, repository: Path, cache: Path, models: dict[str, Path], watchdog: Watchdog, say: Say) -> bool:
    say(f"2/{_STEPS}  MLflow on SQLite, with four versions of the model chat-llm and two of the prompt chat-system")
    server = start_mlflow(folder)
    watchdog.guard(server)
    address = address_of(server, folder)
    register(address, models, PROMPTS)
    port = free_port(18080)
    stage = Stage(folder, address, port, watchdog, say)
    stage.declare(repository / "environments" / "local.yaml", serve_command(cache))
    say(f"3/{_STEPS}  the first deployment: chat-llm/1")
    began = time.monotonic()
    if stage.sluice("apply", ENVIRONMENT, "--yes") != 0:
        return False
    say(f"     after {time.monotonic() - began:.0f} s")
    say(f"     clients: {RATE_RPS:g} streaming chats a second through http://127.0.0.1:{port}/chat/v1")
    clients = stage.clients()
    watchdog.guard(clients)
    as_told = all(stage.act(number, act) for number, act in enumerate(ACTS, start=4))
    stage.sluice("status", ENVIRONMENT)
    verified = stage.sluice("ledger", "verify", ENVIRONMENT) == 0
    end_group(clients.pid)
    clients.wait(timeout=30)
    seen = stage.counted()
    say(f"     all in all: {seen.total()} client requests, {seen['failed']} failed")
    return as_told and verified and not seen["failed"]


class Stage:
    """The demo's folder: an environment file of its own, state, and what the clients counted."""

    def __init__(self, folder: Path, mlflow: str, port: int, watchdog: Watchdog, say: Say) -> None:
        self._folder, self._port, self._watchdog, self._say = folder, port, watchdog, say
        self._file = folder / "environments" / f"{ENVIRONMENT}.yaml"
        self._report = folder / "clients.json"
        self._environ = {
            **os.environ,
            "SLUICE_HOME": str(folder / "state"),
            "SLUICE_ENVIRONMENTS": str(folder / "environments"),
            "MLFLOW_TRACKING_URI": mlflow,
        }

    def declare(self, source: Path, serve: tuple[str, ...]) -> None:
        """Make the demo's environment file out of the repository's: another port and serve command, a prompt."""
        text = source.read_text()
        text = _put(text, r"gateway_port: \d+", f"gateway_port: {self._port}")
        text = _put(text, r"serve_command: \[[^]]*\]", f"serve_command: {json.dumps(list(serve))}")
        text = _put(text, r'prompts: \{system: "[^"]*"\}', "prompts: {system: mlflow:chat-system/1}")
        profiles = self._folder / "loadtests" / "profiles"
        shutil.copytree(source.parents[1] / "loadtests" / "profiles", profiles, dirs_exist_ok=True)
        shutil.copytree(source.parent / "evals", self._file.parent / "evals", dirs_exist_ok=True)
        shutil.copy(source.parent / "schema.json", self._file.parent)
        self._file.write_text(text)

    def act(self, number: int, act: Act) -> bool:
        """Declare what the act wants, apply it, which shows the plan, and say what the clients saw meanwhile."""
        self._say(f"{number}/{_STEPS}  chat-llm/{act.model}: {act.title}")
        text = _put(self._file.read_text(), r"mlflow:chat-llm/\d+", f"mlflow:chat-llm/{act.model}")
        text = _put(text, r"max_model_len: \d+", f"max_model_len: {act.context}")
        self._file.write_text(_put(text, r"mlflow:chat-system/\d+", "mlflow:chat-system/2"))
        before, began = self.counted(), time.monotonic()
        code = self.sluice("apply", ENVIRONMENT, "--yes")
        seen = self.counted() - before
        told = f", {seen['rejected']} rejected by the challenger" if seen["rejected"] else ""
        met = f"{seen.total()} client requests, {seen['failed']} failed{told}"
        self._say(f"     exit code {code} after {time.monotonic() - began:.0f} s; meanwhile: {met}")
        answered = seen["ok"] > 0 and not seen["failed"] and act.rejects == bool(seen["rejected"])
        return code == act.exit_code and answered and not self.in_flight()

    def in_flight(self) -> bool:
        """Return whether a rollout is left over, paused for one: then nothing was decided."""
        answer = subprocess.run([*_PROGRAM, "status", ENVIRONMENT, "--json"], env=self._environ, stdout=subprocess.PIPE)
        if answer.returncode != 0:
            return True  # nobody can tell; the command itself said why
        return any(endpoint["rollout"] for endpoint in json.loads(answer.stdout)["endpoints"])

    def clients(self) -> subprocess.Popen[bytes]:
        """Start the clients and wait for their first answers."""
        flags = self._folder / "state" / ENVIRONMENT / "local" / "flags.json"
        command = [sys.executable, "-m", module("reconciler.demo.traffic"), f"http://127.0.0.1:{self._port}/chat/v1"]
        command += [str(flags), str(self._report), str(RATE_RPS)]
        process = subprocess.Popen(command, start_new_session=True)
        deadline = time.monotonic() + 60
        while self.counted().total() < 20 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
        return process

    def counted(self) -> Counter[str]:
        """Return the client requests up to now, by how they ended."""
        try:
            counts = json.loads(self._report.read_text())["counts"]
        except FileNotFoundError:
            return Counter()
        return Counter({ending: counts.get(ending, 0) for ending in ("ok", "failed", "rejected")})

    def sluice(self, *arguments: str) -> int:
        """Run a command as a user would, after saying which."""
        self._say(f"\n$ sluice {' '.join(arguments)}")
        return self._watchdog.run([*_PROGRAM, *arguments], self._environ)


def _put(text: str, pattern: str, replacement: str) -> str:
    changed, count = re.subn(pattern, lambda _: replacement, text, count=1)
    if count != 1:
        raise SluiceError(
            "DEMO-002",
            where="environments/local.yaml",
            what=f"no line matches {pattern}",
            why="the demo makes its own copy of this file and changes some lines of it",
            do="git checkout environments/local.yaml",
        )
    return changed


def _clear(folder: Path) -> None:
    """Begin anew: an earlier demo that was killed may have left state, and its watchdog has ended its processes."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "environments").mkdir(parents=True)


def free_port(wanted: int) -> int:
    """Return a port of loopback that is free now: the one that is wanted, or any."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            with closing(socket.socket()) as other:
                other.bind(("127.0.0.1", 0))
                port: int = other.getsockname()[1]
                return port
    return wanted
