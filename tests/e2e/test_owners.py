"""Who may act: two applies at once, Ctrl-C, a person's hand from another process, and a store without room."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import SLUICE, Cli, Running, project, until
from tests.support.lifeline import missing
from tests.support.traffic import Traffic

pytestmark = pytest.mark.timeout(900)


# A script's `&` and `nohup` start their commands with SIGINT ignored.
IN_THE_BACKGROUND = (
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from reconciler.cli.main import main; main()",
)


def rolling(cli: Cli, *, step_min_s: float = 4, program: tuple[str, ...] = SLUICE) -> Running:
    """Begin to roll out a second model, and return when the challenger has its first weight."""
    cli.rollout["step_min_s"] = step_min_s
    cli.declare(cli.model("v2"))
    begun = len(cli.entries())
    applying = cli.begin("apply", cli.name, "--yes", program=program)
    cli.until_told("weigh.after", after=begun)
    return applying


def hand(cli: Cli, command: str) -> str:
    """Call one of the hands from a process of its own and return what it said."""
    return cli.run(command, cli.name, "--endpoint", "chat", "--reason", f"tests {command}", code=0).told


def test_a_second_apply_says_who_owns_it_and_ends_as_the_first(cli: Cli) -> None:
    with Traffic(cli.port) as traffic:
        first = rolling(cli, step_min_s=120)
        owner = cli.status()["rollout"]["owner"]
        assert f"/{first.process.pid}/" in owner
        second = cli.begin("apply", cli.name, "--yes")
        until(lambda: "watching" in second.told(), "the second apply does not say that it only watches")
        assert owner.split("/")[0] in second.told()
        refused = cli.run("down", cli.name, code=1)
        assert "LEASE-001" in refused.told
        assert owner.split("/")[0] in refused.told
        hand(cli, "promote")
        results = [first.wait().expect(0), second.wait().expect(0)]
    assert all("promoted" in result.out for result in results)
    begun = [e for e in cli.entries() if e.kind == "begin"]
    assert len(begun) == 2, "the first deployment and one rollout"
    done = [e for e in cli.entries() if e.rollout == begun[-1].rollout and not e.kind.startswith("operator:")]
    assert {e.actor for e in done} == {owner}, "nobody else wrote"
    assert traffic.failed() == 0, traffic.failures
    cli.verified()


@pytest.mark.parametrize(
    ("how", "program"),
    [(signal.SIGINT, SLUICE), (signal.SIGTERM, SLUICE), (signal.SIGTERM, IN_THE_BACKGROUND)],
    ids=["ctrl-c", "term", "term-in-the-background"],
)
def test_an_interrupted_apply_can_be_resumed_and_says_how(
    cli: Cli, how: signal.Signals, program: tuple[str, ...]
) -> None:
    with Traffic(cli.port) as traffic:
        applying = rolling(cli, program=program)
        applying.signal(how)
        told = applying.wait().expect(130).told
        assert f"sluice apply {cli.name} --yes" in told
        stopped = cli.status()
        assert (stopped["rollout"]["phase"], stopped["rollout"]["owner"]) == ("shifting", None)
        assert {name: slot["weight_pct"] for name, slot in stopped["slots"].items()} == {"a": 100, "b": 0}
        assert "resuming" in cli.run("apply", cli.name, "--yes", code=0).told
        assert cli.serving() == stopped["rollout"]["release"]
    assert traffic.failed() == 0, traffic.failures
    assert len([e for e in cli.entries() if e.kind == "begin"]) == 2
    cli.verified()


def test_a_person_pauses_and_resumes(cli: Cli) -> None:
    cli.rollout["steps_pct"] = [50]
    with Traffic(cli.port) as traffic:
        applying = rolling(cli, step_min_s=20)
        hand(cli, "pause")
        assert "tests pause" in applying.wait().expect(4).told
        assert cli.status()["rollout"]["phase"] == "paused"
        assert hand(cli, "resume")
        assert cli.run("plan", cli.name, "--detailed-exitcode", code=0)
    assert traffic.failed() == 0, traffic.failures
    said = {e.kind: e for e in cli.entries() if e.kind.startswith("operator:")}
    assert set(said) == {"operator:pause", "operator:resume"}
    assert all(e.body["reason"].startswith("tests ") and e.actor for e in said.values())


def test_a_person_aborts(cli: Cli) -> None:
    champion = cli.serving()
    with Traffic(cli.port) as traffic:
        applying = rolling(cli, step_min_s=60)
        said = hand(cli, "abort")
        ended = applying.wait()
        assert "acts on it within a second" in said or "rolled_back: tests abort" in said
        assert "tests abort" in ended.expect(4).told
        assert cli.serving() == champion
    assert cli.kinds().count("enter:rolled_back") == 1, "nobody rolled it back a second time"
    assert traffic.failed() == 0, traffic.failures


def test_a_person_promotes(cli: Cli) -> None:
    with Traffic(cli.port) as traffic:
        applying = rolling(cli, step_min_s=60)
        wanted = cli.status()["rollout"]["release"]
        hand(cli, "promote")
        applying.wait().expect(0)
        assert cli.serving() == wanted
    assert cli.kinds().count("enter:promoted") == 2, "the first deployment, and the rollout once"
    assert traffic.failed() == 0, traffic.failures


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "sluice-test", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        missing(f"a small disk cannot be mounted: {mounted.stderr.strip()}", "run this test as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_apply_and_nothing_is_lost(tiny_disk: Path) -> None:
    with project(store=f"sqlite:///{tiny_disk / 'ledger.db'}") as cli:
        cli.declare("file:models/v1")
        cli.run("apply", cli.name, "--yes", code=0)
        champion, ballast = cli.serving(), tiny_disk / "ballast"
        with Traffic(cli.port) as traffic:
            applying = rolling(cli, step_min_s=3)
            fill(ballast)
            told = applying.wait().expect(1).err
            assert told.startswith("STORE-001"), told
            assert traffic.failed() == 0, traffic.failures
            ballast.unlink()
            cli.run("apply", cli.name, "--yes", code=0)
        assert cli.serving() != champion
        assert traffic.failed() == 0, traffic.failures
        cli.verified()


def fill(path: Path) -> None:
    """Write until there is no room left."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(descriptor, bytes(4096)):
            continue
    except OSError:
        return
    finally:
        os.close(descriptor)
