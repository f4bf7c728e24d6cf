"""Nothing that the demo started outlives it, not even as a dead child that nobody collected."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from reconciler.demo.watchdog import Watchdog, groups_of

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_finish_ends_and_collects_what_was_guarded(tmp_path: Path) -> None:
    watchdog = Watchdog(tmp_path, "local")
    guarded = [subprocess.Popen(SLEEPER, start_new_session=True) for _ in range(2)]
    for process in guarded:
        watchdog.guard(process)
    watchdog.finish()
    assert all(process.returncode is not None for process in guarded)


def test_the_watchdog_ends_a_group_when_the_demo_is_gone(tmp_path: Path) -> None:
    process = subprocess.Popen(SLEEPER, start_new_session=True)
    program = (
        "import os, signal, subprocess, sys\n"
        "from pathlib import Path\n"
        "from reconciler.demo.watchdog import Watchdog\n"
        f"watchdog = Watchdog(Path({str(tmp_path)!r}), 'local')\n"
        f"watchdog._process.stdin.write(b'{process.pid}\\n'); watchdog._process.stdin.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    assert process.wait(timeout=60) != 0


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        (["12\n", "34\n"], [12, 34]),
        (["12\n", "34\n", "-12\n"], [34]),
        (["12\n", "-12\n", "12\n"], [12]),
        (["-7\n", "\n", "words\n"], []),
    ],
)
def test_a_group_that_was_taken_back_is_nobodys_of_ours(lines: list[str], left: list[int]) -> None:
    assert groups_of(lines) == left


def test_a_command_ends_with_a_demo_that_was_killed(tmp_path: Path) -> None:
    """It would bring back the servers that are ended behind it."""
    started = tmp_path / "started"
    sleeper = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    command = [sys.executable, "-c", sleeper]
    program = (
        "import os\n"
        "from pathlib import Path\n"
        "from reconciler.demo.watchdog import Watchdog\n"
        f"Watchdog(Path({str(tmp_path / 'state')!r}), 'local').run({command!r}, os.environ)\n"
    )
    demo = subprocess.Popen([sys.executable, "-c", program])
    until(lambda: started.exists() and started.read_text())
    demo.kill()
    demo.wait()
    until(lambda: not psutil.pid_exists(int(started.read_text())))


def test_a_command_that_ended_is_guarded_no_more(tmp_path: Path) -> None:
    watchdog = Watchdog(tmp_path, "local")
    assert watchdog.run([sys.executable, "-c", "raise SystemExit(3)"], os.environ) == 3
    watchdog.finish()


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds, a minute at most."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
