"""Run a real Prometheus for tests that scrapes one address every fifth of a second."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support.lifeline import dies_with_parent, missing

_START_S = 60.0
_LISTENING = re.compile(r'msg="?Listening on"? address=(127\.0\.0\.1:\d+)')
_CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}
scrape_configs:
  - job_name: test
    static_configs: [{{targets: ["{target}"]}}]
"""


@contextlib.contextmanager
def running_prometheus(folder: Path, target: str) -> Iterator[str]:
    """Run a server until the block ends; yields its address. `target` is HOST:PORT of what it scrapes."""
    program = shutil.which("prometheus")
    if program is None:
        missing("no Prometheus on this machine", "install the Debian package: apt-get install prometheus")
    (folder / "prometheus.yml").write_text(_CONFIG.format(target=target))
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    log = folder / "prometheus.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--web.listen-address=127.0.0.1:0"], stdout=out, stderr=out, preexec_fn=dies_with_parent()
        )
    with process:
        try:
            yield _address(process, log)
        finally:
            process.kill()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        found = _LISTENING.search(log.read_text(errors="replace"))
        if found:
            url = f"http://{found[1]}"
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return url
        time.sleep(0.05)
    raise RuntimeError(f"Prometheus did not start:\n{log.read_text(errors='replace')[-2000:]}")
