"""Run a real Prometheus for tests, of the version that clusters run: it scrapes an address or holds given samples."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support.lifeline import dies_with_parent
from tests.support.promtool import program

_START_S = 60.0
_LISTENING = re.compile(r'msg="?Listening on\b.* address=(127\.0\.0\.1:\d+)')
_CONFIG = """
global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}
"""
_SCRAPE = """
scrape_configs:
  - job_name: test
    fallback_scrape_protocol: PrometheusText0.0.4  # the stubs of tests do not say what they send
    static_configs: [{{targets: ["{target}"]}}]
"""


@contextlib.contextmanager
def running_prometheus(folder: Path, target: str = "", *, data: Path | None = None, more: str = "") -> Iterator[str]:
    """Run a server until the block ends; yields its address.

    `target` is HOST:PORT of what it scrapes every fifth of a second, `data` its database, `more` goes into its
    configuration.
    """
    (folder / "prometheus.yml").write_text(_CONFIG + (_SCRAPE.format(target=target) if target else "") + more)
    command = [str(program("prometheus")), f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={data or folder / 'data'}", "--web.listen-address=127.0.0.1:0"]
    log = folder / "prometheus.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, preexec_fn=dies_with_parent())
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
