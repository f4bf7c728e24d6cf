"""A tour over a cluster: one release is promoted and one rolled back, under real traffic. `make demo-kubernetes`.

Every step is a command that a user could type. Without Go nothing can be built, and that is said.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from tests.builds.build import is_built
from tests.builds.build import main as build
from tests.builds.catalog import engine
from tests.support.kubernetes.rig.clients import Clients, Sent
from tests.support.kubernetes.rig.rig import traffic_rig
from tests.support.kubernetes.rig.stage import ENVIRONMENT, Stage, declared

Say = Callable[[str], None]
RATE_RPS = 60.0
ENGINES = ("etcd", "kubernetes", "kwok", "crds", "envoy_gateway")
GOOD, BAD = "v2", "v3"
_STEPS = 5


def tour(say: Say) -> int:
    """Run the tour and return its exit code: 0 when everything ended as it should, or cannot be shown here."""
    began = time.monotonic()
    say(f"1/{_STEPS}  Kubernetes and Envoy Gateway (kept in .cache/engines; minutes when they have to be built)")
    if not _engines(say):
        return 0
    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="sluice-demo-") as folder:
        spec = declared({"chat": "support"})
        with traffic_rig(spec) as rig:
            say(f"     a control plane, three machines with GPUs that are not there, and a gateway: {_seconds(began)}")
            good = _play(Stage(rig, Path(folder), spec), say)
            say(f"{_STEPS}/{_STEPS}  ending every process")
    say(f"{'done' if good else 'NOT as it should be'} after {_seconds(began)}; nothing is left running")
    return 0 if good else 1


def _engines(say: Say) -> bool:
    """Build what is not there; say what is missing where nothing can be built."""
    lacking = [name for name in ENGINES if not is_built(engine(name))]
    if lacking and shutil.which("go") is None:
        say(f"     not built: {', '.join(lacking)}; they are built from Go modules, and Go is not on PATH")
        say("     install Go 1.26 or later (https://go.dev/doc/install), then run this again; `make demo` needs none")
        return False
    return not lacking or build(lacking) == 0


def _play(stage: Stage, say: Say) -> bool:
    say(f"2/{_STEPS}  the first deployment: models/v1")
    stage.declare("v1")
    if _sluice(stage, say, "apply", ENVIRONMENT, "--yes") != 0:
        return False
    say(f"     clients: {RATE_RPS:g} streams a second; yours may use http://127.0.0.1:{stage.rig.gateway_port}/chat/v1")
    with stage.rig.clients(rate_rps=RATE_RPS) as clients:
        clients.wait_for_answers()
        as_told = _act(stage, clients, say, number=3, model=GOOD, code=0)
        as_told &= _act(stage, clients, say, number=4, model=BAD, code=4)
    _sluice(stage, say, "status", ENVIRONMENT)
    return _sluice(stage, say, "ledger", "verify", ENVIRONMENT) == 0 and as_told


def _act(stage: Stage, clients: Clients, say: Say, *, number: int, model: str, code: int) -> bool:
    """Declare a model, apply it, and say what clients met: nobody but the challenger may fail."""
    title = "as good as v1: the canary has to let it through" if code == 0 else "fails 5 % of its answers"
    say(f"{number}/{_STEPS}  models/{model}: {title}")
    challenger, before = stage.model(model, **({} if code == 0 else {"error_rate": 0.05})), time.monotonic()
    stage.declare(model)
    found = _sluice(stage, say, "apply", ENVIRONMENT, "--yes")
    sent = clients.sent(before)
    failed, lost = _failures(sent, challenger)
    say(f"     exit code {found}; {len(sent)} requests, {failed} failed by the challenger, {lost} by anybody else")
    return found == code and lost == 0 and bool(sent) and bool(failed) == (code != 0)


def _failures(sent: list[Sent], challenger: str) -> tuple[int, int]:
    """Return how many requests the challenger failed, and how many failed otherwise."""
    failed = [each for each in sent if not each.ok]
    own = sum(each.model == challenger for each in failed)
    return own, len(failed) - own


def _sluice(stage: Stage, say: Say, *words: str) -> int:
    say(f"\n$ sluice {' '.join(words)}")
    return stage.begin(*words).wait()


def _seconds(since: float) -> str:
    return f"{time.monotonic() - since:.0f} s"


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the tour as Ctrl-C does: whatever was begun is ended in order."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        sys.exit(tour(lambda line: print(line, flush=True)))
    except KeyboardInterrupt:
        sys.exit(130)
