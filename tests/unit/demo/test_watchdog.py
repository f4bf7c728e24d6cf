"""Nothing that the demo started outlives it, not even as a dead child that nobody collected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from reconciler.demo.watchdog import Watchdog

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
