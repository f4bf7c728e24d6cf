"""`kill -9` of `sluice apply` at every entry of a rollout's ledger: the next call finishes, and one release serves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import crashing_cli
from tests.support.cli import Cli, project
from tests.support.traffic import Traffic

FAST = {
    "steps_pct": [50],
    "step_min_s": 0,
    "step_max_s": 0.5,
    "on_inconclusive": "promote",
    "bake_s": 0.5,
    "warmup_requests": 1,
    "judge": {"tick_s": 0.2, "warmup_s": 0, "protect": [{"metric": "error_rate", "ratio": 5}]},
}
"""Promotes in a moment whatever a busy machine does to latencies: how they are judged is the other tests' matter."""
PROGRAM = (str(Path(crashing_cli.__file__)),)


@pytest.fixture
def fast() -> Iterator[Cli]:
    """Give a project whose rollouts are over in moments, with v1 serving."""
    with project() as cli:
        cli.rollout.update(FAST)
        cli.spec["endpoints"]["chat"]["slo"] = {}
        cli.declare("file:models/v1")
        cli.run("apply", cli.name, "--yes", code=0)
        yield cli


def apply_until_killed(cli: Cli, when: str) -> int:
    """Apply with a kill at one ledger entry and return the exit code."""
    crashed = cli.begin(when, "apply", cli.name, "--yes", program=PROGRAM).wait()
    assert "Traceback" not in crashed.told
    return crashed.code


def declared(cli: Cli, model: str) -> tuple[str, str]:
    """Return a model and the id of the release that it makes."""
    cli.declare(model)
    planned = cli.run("plan", cli.name, "--json", code=0).json()["releases"]
    return model, str(planned[0]["id"])


def whole(cli: Cli, serving: str) -> None:
    """Check what must hold after every crash and recovery: who serves, the ledger's chain, no process too many."""
    live = cli.live()
    assert {live.slots[name].release_id: pct for name, pct in live.weights.items() if pct} == {serving: 100.0}
    cli.verified()
    servers, supervisors = cli.processes(), cli.supervisors()
    assert len(servers) <= 3, "two slots and Envoy"
    assert len(supervisors) == len(servers)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("first", [1, 2], ids=["odd", "even"])
def test_a_promotion_survives_a_kill_at_every_entry(fast: Cli, side: str, first: int) -> None:
    releases = itertools.cycle([declared(fast, ref) for ref in (fast.model("v2"), fast.model("v3"), "file:models/v1")])
    with Traffic(fast.port, per_second=60) as traffic:
        for entry in itertools.count(first, 2):
            model, wanted = next(releases)
            fast.declare(model)
            if apply_until_killed(fast, f"{side}:{entry}") == 0:
                break
            # Killed after its very last write, a rollout has ended, and nothing is left to be done.
            outcomes = fast.run("apply", fast.name, "--yes", "--json", code=0).json()["outcomes"]
            assert {outcome["phase"] for outcome in outcomes} <= {"promoted"}
            whole(fast, wanted)
    assert entry > 20, "a rollout has more entries than that"
    fast.run("plan", fast.name, "--detailed-exitcode", code=0)
    assert traffic.failed() == 0, traffic.failures
    assert traffic.answers.total() > 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_rollback_survives_a_kill_at_every_entry(fast: Cli, side: str) -> None:
    champion, generation, begun = fast.serving(), fast.server("a"), len(fast.entries())
    fast.declare(fast.model("bad", crash_after_requests=3))
    with Traffic(fast.port, per_second=60) as traffic:
        fast.run("apply", fast.name, "--yes", code=4)
        kinds, killed_after = fast.kinds(begun), set[str]()
        # What comes before is the other test's.
        for entry in range(kinds.index("enter:rolling_back") + 1, len(kinds) + 1):
            begun = len(fast.entries())
            if apply_until_killed(fast, f"{side}:{entry}") == 4:
                continue  # this time the challenger died before its prompts were published, which leaves fewer entries
            killed_after.add(fast.kinds(begun)[-1])
            fast.run("apply", fast.name, "--yes", code=4)
            assert fast.server("a") == generation, "the champion was never touched"
            whole(fast, champion)
    assert len(killed_after) >= 5, killed_after
    assert traffic.answers[champion, True] == 0, traffic.failures
