"""How the suite is spread over workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GROUP = """
import os, pathlib, pytest

@pytest.mark.xdist_group("{group}")
@pytest.mark.parametrize("number", range(6))
def test_it(number):
    with pathlib.Path("{group}").open("a") as told:
        print(os.environ["PYTEST_XDIST_WORKER"], file=told)
"""


def test_tests_that_share_an_expensive_server_run_on_one_worker(tmp_path: Path) -> None:
    """A control plane and a gateway for each worker took the suite's time, and the verdicts of what is measured."""
    groups = ("control-plane", "gateway")
    for group in groups:
        (tmp_path / f"test_{group.replace('-', '_')}.py").write_text(GROUP.format(group=group))
    command = (sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider")
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    for group in groups:
        workers = (tmp_path / group).read_text().split()
        assert len(workers) == 6
        assert len(set(workers)) == 1
