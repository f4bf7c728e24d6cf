"""The clients' side that a test holds: starts them in the pods' network, and tells what they met."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.rig.gateway import LISTENER_PORT
from tests.support.kubernetes.rig.netns import start
from tests.support.processes import ROOT

_END_S = 90.0
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Sent:
    """One request: when it began and ended on the monotonic clock, and which model answered; empty when none did."""

    begun: float
    ended: float
    status: int
    ok: bool
    model: str
    why: str = ""


class Clients:
    """Clients that send through the gateway until `stop`."""

    def __init__(self, process: subprocess.Popen[bytes], report: Path, log: Path) -> None:
        self._process, self._report, self._log = process, report, log

    def stop(self) -> None:
        """Send no more, and wait for what is open."""
        self._process.terminate()
        code = self._process.wait(timeout=_END_S)
        assert code == 0, self._log.read_text()[-2000:]

    def sent(self, since: float = 0.0) -> list[Sent]:
        """Return the requests that have ended by now and began after a moment."""
        text = self._report.read_text() if self._report.exists() else ""
        lines = (json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n"))
        return [
            Sent(x["begun"], x["ended"], x["status"], x["ok"], x["by"].partition("/")[0], x.get("why", ""))
            for x in lines
            if x["begun"] >= since
        ]

    def ok(self) -> Counter[str]:
        """Return the whole answers by model."""
        return Counter(each.model for each in self.sent() if each.ok)

    def failed(self, *, without: str = "-") -> list[Sent]:
        """Return the requests that failed, those left out that a model failed by itself."""
        return [each for each in self.sent() if not each.ok and each.model != without]

    def wait_for_answers(self, count: int = 20, *, within_s: float = 60.0) -> None:
        """Wait until some requests have ended well.

        Raises:
            TimeoutError: they do not.
        """
        deadline = time.monotonic() + within_s
        while self.ok().total() < count:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError(f"no answers: {self.failed()[-1:]} {self._log.read_text()[-500:]}")
            time.sleep(0.1)


@contextlib.contextmanager
def clients(plane: ControlPlane, *, rate_rps: float, tokens: int = 3, endpoint: str = "chat") -> Iterator[Clients]:
    """Send streams of so many tokens through the gateway while the block runs."""
    number = next(_numbers)
    report, log = plane.folder / f"clients-{number}.jsonl", plane.folder / f"clients-{number}.log"
    module = [sys.executable, "-m", "tests.support.kubernetes.rig.load", str(LISTENER_PORT)]
    words = [*module, f"/{endpoint}/v1/completions", str(rate_rps), str(tokens), str(report)]
    with log.open("wb") as out:
        process = start(plane.place.command(words, ROOT), out.fileno())
    found = Clients(process, report, log)
    try:
        yield found
        found.stop()
    finally:
        process.kill()
        process.wait()
