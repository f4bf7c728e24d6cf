"""A project of its own for a test of the whole product: an environment file, models, ports, and `sluice` as a process.

Whatever a test starts is taken down when it ends: by `sluice down`, then by a guard that outlives a killed test.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from environments.names import Address
from reconciler.cli.common import load_environment
from reconciler.compose import compose
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.plan.plan import Scope
from reconciler.platforms.local.processes import Process, marked, read_supervised, supervising
from reconciler.platforms.local.supervisor import STATE
from reconciler.ports import Entry, Verification
from reconciler.store.connect import open_store
from tests.support.forked import Forked, can_fork, forker
from tests.support.lifeline import dies_with_parent
from tests.support.processes import ROOT, free_port, guarded_home
from tests.support.servers.doubles import SERVE_COMMAND, model_folder

T = TypeVar("T")
Called = Forked | subprocess.Popen[bytes]
PATIENCE_S = 240.0
_DIES_WITH_PARENT = dies_with_parent()
SLUICE = ("-m", "reconciler.cli.main")
ROLLOUT: Mapping[str, Any] = {
    "steps_pct": [10, 50],
    "step_min_s": 1,
    "step_max_s": 120,
    "start_timeout_s": 60,
    "warmup_requests": 2,
    "bake_s": 2,
    "judge": {
        "tick_s": 0.5,
        "warmup_s": 0,
        "protect": [{"metric": "error_rate", "ratio": 5}, {"metric": "ttft", "ratio": 3}],
    },
}
"""Decides within seconds at 100 requests a second, and forgives a busy machine."""


@dataclass(frozen=True)
class Result:
    """How one call of `sluice` ended; `code` is negative when a signal ended it."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return the one object on stdout."""
        return json.loads(self.out)

    def expect(self, code: int) -> Result:
        """Return itself after checking the exit code, and that no traceback was shown."""
        assert self.code == code, f"sluice {' '.join(self.arguments)} exited {self.code}, not {code}\n{self.told}"
        assert "Traceback" not in self.told
        return self

    @property
    def told(self) -> str:
        """Return everything that was printed."""
        return f"{self.out}\n{self.err}"


class Running:
    """A call of `sluice` that still runs; it dies with the test."""

    def __init__(self, arguments: Sequence[str], process: Called, out: Path, err: Path) -> None:
        self.arguments, self.process, self._out, self._err = tuple(arguments), process, out, err

    def wait(self, seconds: float = PATIENCE_S) -> Result:
        """Wait for its end."""
        code = self.process.wait(timeout=seconds)
        return Result(self.arguments, code, self._out.read_text(), self._err.read_text())

    def told(self) -> str:
        """Return what it has printed so far."""
        return self._out.read_text() + self._err.read_text()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)


class Cli:
    """One project folder with one environment, whose spec a test changes with `declare`.

    `forks`: calls are forks of a process that has imported `sluice`, else interpreters of their own.
    """

    def __init__(self, folder: Path, home: Path, regions: Mapping[str, int], *, name: str, store: str) -> None:
        self.folder, self.home, self.name, self.ports = folder, home, name, dict(regions)
        self.forks = True
        self._calls = 0
        self._running: list[Running] = []
        self.spec: dict[str, Any] = {
            "environment": name,
            "owner": "tests",
            "store": store,
            "regions": {
                region: {"platform": "local", "gateway_port": port, "serve_command": list(SERVE_COMMAND)}
                for region, port in self.ports.items()
            },
            "endpoints": {
                "chat": {
                    "team": "tests",
                    "runtime": "vllm",
                    "gpus_per_replica": 0,
                    "slo": {"ttft_p95_ms": 20000, "error_rate": 0.05},
                    "release": {"model": "file:models/v1", "prompts": {"system": "file:models/prompt.txt"}},
                    "rollout": json.loads(json.dumps(ROLLOUT)),
                }
            },
        }
        (folder / "environments").mkdir(exist_ok=True)
        (folder / "models").mkdir(exist_ok=True)
        (folder / "models" / "prompt.txt").write_text("be brief")

    @property
    def port(self) -> int:
        """Return the gateway's port of the only, or first, region."""
        return next(iter(self.ports.values()))

    @property
    def rollout(self) -> dict[str, Any]:
        """Return the endpoint's `rollout` block, to be changed before `declare`."""
        block: dict[str, Any] = self.spec["endpoints"]["chat"]["rollout"]
        return block

    def model(self, name: str, **faults: Any) -> str:
        """Make a model that answers as no other does, with faults from its start; return its reference."""
        model_folder(self.folder / "models", name, content=name, **faults)
        return f"file:models/{name}"

    def declare(self, model: str, **blocks: Any) -> None:
        """Write the environment file: this model, and whole top-level blocks that are replaced."""
        self.spec["endpoints"]["chat"]["release"]["model"] = model
        self.spec |= blocks
        # JSON is YAML; a rename, so that no call ever reads half a file.
        partial = self.folder / "environments" / ".partial"
        partial.write_text(json.dumps(self.spec, indent=1))
        partial.replace(self.folder / "environments" / f"{self.name}.yaml")

    def run(self, *arguments: str, code: int | None = None, **environ: str) -> Result:
        """Call `sluice` and wait; with `code`, check the exit code."""
        result = self.begin(*arguments, **environ).wait()
        return result if code is None else result.expect(code)

    def begin(self, *arguments: str, program: Sequence[str] = SLUICE, **environ: str) -> Running:
        """Call `sluice` and return while it runs."""
        self._calls += 1
        out, err = (self.folder / f"call-{self._calls}.{kind}" for kind in ("out", "err"))
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = self._process(program, arguments, self.environ() | environ, to_out.fileno(), to_err.fileno())
        running = Running(arguments, process, out, err)
        self._running.append(running)
        return running

    def _process(
        self, program: Sequence[str], arguments: Sequence[str], env: Mapping[str, str], out: int, err: int
    ) -> Called:
        if self.forks and can_fork(program):
            return forker().fork(program, arguments, cwd=self.folder, env=env, out=out, err=err)
        return subprocess.Popen(
            [sys.executable, *program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=self.folder,
            env=env,
            preexec_fn=_as_in_a_terminal,
        )

    def environ(self) -> dict[str, str]:
        """Return the environment variables of every call: ours, without what CI or a terminal would change."""
        unwanted = ("NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS", "TERM", "SLUICE_STORE")
        kept = {key: value for key, value in os.environ.items() if key not in unwanted}
        ours = {"SLUICE_HOME": self.home, "SLUICE_ENVIRONMENTS": self.folder / "environments", "PYTHONPATH": ROOT}
        return kept | {key: str(value) for key, value in ours.items()} | {"PYTHONSAFEPATH": "1"}

    def status(self, region: str | None = None) -> Any:
        """Return one region's part of `sluice status --json`."""
        found = self.run("status", self.name, "--json", code=0).json()["endpoints"]
        wanted = f"{self.name}/{region or next(iter(self.ports))}/chat"
        return next(each for each in found if each["address"] == wanted)

    def serving(self, region: str | None = None) -> str:
        """Return the release that has all the traffic, after checking that exactly one has."""
        status = self.status(region)
        weights = [slot["weight_pct"] for slot in status["slots"].values()]
        assert sorted(weights) == [0, 100], status
        serving: str = status["serving"]
        assert serving, status
        return serving

    def live(self) -> ObservedEndpoint:
        """Return what is live in the first region, read without a process of its own: sweeps look often."""

        async def read() -> ObservedEndpoint:
            composed = compose(load_environment(None, self.folder / "environments" / f"{self.name}.yaml"))
            try:
                found = (await composed.planner().live(Scope())).endpoints
                return found[Address(self.name, next(iter(self.ports)), "chat")]
            finally:
                await composed.store.close()

        with mock.patch.dict(os.environ, {"SLUICE_HOME": str(self.home)}):
            return asyncio.run(read())

    def entries(self) -> list[Entry]:
        """Return the ledger, oldest first."""

        async def read() -> list[Entry]:
            store = open_store(self.spec["store"], home=self.home, root=self.folder)
            try:
                return [entry async for entry in store.entries(self.name)]
            finally:
                await store.close()

        return asyncio.run(read())

    def kinds(self, after: int = 0) -> list[str]:
        """Return the kinds of the ledger's entries behind entry number `after`."""
        return [entry.kind for entry in self.entries() if entry.seq > after]

    def verified(self) -> Verification:
        """Check the ledger's chain."""

        async def check() -> Verification:
            store = open_store(self.spec["store"], home=self.home, root=self.folder)
            try:
                return await store.verify(self.name)
            finally:
                await store.close()

        found = asyncio.run(check())
        assert found.ok, found
        return found

    def until_told(self, kind: str, after: int = 0, *, where: str = "") -> Entry:
        """Wait until the ledger has an entry of a kind behind entry `after`, and `where` in its address or summary."""

        def look() -> Entry | None:
            found = [e for e in self.entries() if e.seq > after and e.kind == kind and where in e.address + e.summary]
            return found[0] if found else None

        return until(look, f"no entry {kind} in the ledger")

    def server(self, slot: str, region: str | None = None) -> Process:
        """Return the server process of a slot."""
        found = read_supervised(self._slot(slot, region))
        assert found is not None
        assert found.server is not None
        return found.server

    def supervisor(self, slot: str, region: str | None = None) -> Process:
        """Return the supervisor of a slot's server."""
        found = read_supervised(self._slot(slot, region))
        assert found is not None
        return found.supervisor

    def envoy(self) -> Process:
        """Return the Envoy process of the first region."""
        (folder,) = [p.parent for p in (self.home / self.name / next(iter(self.ports))).glob(f"gateway/{STATE}")]
        found = read_supervised(folder)
        assert found is not None
        assert found.server is not None
        return found.server

    def envoy_runs(self) -> bool:
        """Return whether the first region has an Envoy right now; between two there is none."""
        found = read_supervised(self.home / self.name / next(iter(self.ports)) / "gateway")
        return found is not None and bool(found.generation)

    def processes(self) -> list[Process]:
        """Return every server of this project, supervisors left out."""
        return marked(self.home)

    def supervisors(self) -> list[Process]:
        """Return every supervisor of this project."""
        return supervising(self.home)

    def down(self) -> None:
        """End everything, calls that still run first, and check that nothing is left and that the ports are closed."""
        for running in self._running:
            running.process.kill()
            running.process.wait()
        if (self.folder / "environments" / f"{self.name}.yaml").exists():
            self.run("down", self.name, code=0)
        assert [*self.processes(), *self.supervisors()] == []
        for port in self.ports.values():
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} still answers"

    def _slot(self, slot: str, region: str | None) -> Path:
        root = self.home / self.name / (region or next(iter(self.ports)))
        (folder,) = [p.parent for p in root.rglob(STATE) if p.parent.name == slot]
        return folder


@contextlib.contextmanager
def project(regions: Sequence[str] = ("local",), *, store: str | None = None) -> Iterator[Cli]:
    """Give a project in memory where there is such a folder, and take everything down after it, whatever happened."""
    memory = Path("/dev/shm")
    fast = str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="sluice-e2e-", dir=fast))
    try:
        with guarded_home(folder) as home:
            ports = {region: free_port(f"{folder} {region}") for region in regions}
            cli = Cli(folder, home, ports, name="e2e", store=store or "sqlite:///.sluice/e2e.db")
            cli.model("v1")
            try:
                yield cli
            finally:
                cli.down()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_in_a_terminal() -> None:
    """Die with the test, and hear Ctrl-C even where the tests themselves run in the background and do not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _DIES_WITH_PARENT()


def until(look: Callable[[], T | None], why: str) -> T:
    """Return what `look` finds, looking until it finds something; fail after some minutes."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(why)


def kill(process: Process) -> None:
    """Kill a process as `kill -9` does."""
    assert process.signal(signal.SIGKILL)
