"""One load over a real locust master and two real workers: every request is sent once, and locust counts them all."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCUSTFILE = ROOT / "loadtests" / "locustfile.py"
PROFILE = """\
profile: two-workers
api: completions
arrivals: {kind: constant, rate_rps: 40}
duration_s: 3
warmup_s: 0.5
timeout_s: 20
output_tokens: {kind: fixed, tokens: 6}
"""


@contextmanager
def process(*command: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a group of its own; the whole group is gone afterwards."""
    child = subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=_die_with_parent,
    )
    try:
        yield child
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            child.returncode = child.returncode if child.returncode is not None else 0
        child.communicate()


def _die_with_parent() -> None:
    from tests.support.servers.sse_server import die_with_parent

    die_with_parent()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def locust(url: str, profile: Path, *more: str, allow: str | None = None) -> tuple[str, ...]:
    command = (sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--load-profile", str(profile))
    return (*command, "--load-allow", allow or url, "--load-model", "m", "--host", url, *more)


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open() as file:
        return {row["Name"]: row for row in csv.DictReader(file)}


@contextmanager
def server(folder: Path) -> Iterator[str]:
    with process(sys.executable, "-m", "tests.support.servers.sse_server", cwd=ROOT) as child:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{json.loads(child.stdout.readline())['port']}"


def test_master_and_two_workers_send_one_load_together(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text(PROFILE)
    port = str(free_port())
    with ExitStack() as stack:
        url = stack.enter_context(server(tmp_path))
        common = ("--master", "--headless", "--expect-workers", "2", "--master-bind-host", "127.0.0.1")
        master = stack.enter_context(
            process(
                *locust(url, profile, *common, "--master-bind-port", port, "--csv", str(tmp_path / "out")), cwd=tmp_path
            )
        )
        for _ in range(2):
            worker = locust(url, profile, "--worker", "--master-host", "127.0.0.1", "--master-port", port)
            stack.enter_context(process(*worker, cwd=tmp_path))
        _, log = master.communicate(timeout=120)
        assert master.returncode == 0, log
    found = rows(tmp_path / "out_stats.csv")
    assert found["answer"]["Request Count"] == "120", log
    assert found["ttft"]["Request Count"] == "120"
    assert found["answer"]["Failure Count"] == "0"
    assert float(found["answer"]["Average Content Size"]) == 6.0


def test_one_locust_alone_refuses_an_address_that_is_not_allowed(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text(PROFILE)
    with server(tmp_path) as url:
        command = locust(url, profile, "--headless", "--csv", str(tmp_path / "out"), allow="http://127.0.0.1:1")
        with process(*command, cwd=tmp_path) as alone:
            out, log = alone.communicate(timeout=120)
    assert alone.returncode == 1, log
    assert "LOAD-011" in out + log
    assert "answer" not in rows(tmp_path / "out_stats.csv")
