"""Challengers that must not win: each ends in a stated verdict, with the champion untouched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reconciler.core.canonical import Json
from reconciler.store.connect import open_store
from tests.support.cli import Cli, Result
from tests.support.traffic import Traffic

pytestmark = pytest.mark.timeout(900)


def attempt(cli: Cli, **faults: Any) -> Result:
    """Roll out a model with these faults and check that it was stopped."""
    cli.declare(cli.model("v2", **faults))
    return cli.run("apply", cli.name, "--yes", "--json", code=4)


def untouched(cli: Cli, champion: str, generation: object) -> None:
    """Check that the champion serves everything, from the very process that served before."""
    assert cli.serving() == champion
    assert cli.server("a") == generation
    assert cli.status()["slots"]["b"]["release"] is None, "the challenger was stopped"
    assert len(cli.processes()) == 2, "one server and Envoy"
    cli.verified()


@pytest.mark.parametrize(
    ("faults", "says"),
    [({"ttft_ms": 200}, "ttft"), ({"error_rate": 0.4}, "error_rate"), ({"break_rate": 0.4}, "error_rate")],
    ids=["slow", "fails", "breaks off"],
)
def test_a_worse_release_is_rolled_back_by_weight(cli: Cli, faults: dict[str, Any], says: str) -> None:
    champion, generation = cli.serving(), cli.server("a")
    with Traffic(cli.port) as traffic:
        outcome = attempt(cli, **faults).json()["outcomes"][0]
        assert (outcome["phase"], says in outcome["reason"]) == ("rolled_back", True), outcome
        untouched(cli, champion, generation)
    assert traffic.failed(without=outcome["release"]) == 0, traffic.failures
    assert traffic.ok(champion) > 0
    if faults.get("error_rate"):
        assert traffic.answers[outcome["release"], True] > 0, "its own failures are what it was judged by"
    plan = cli.run("plan", cli.name, "--json", code=0).json()
    assert "ROLL-001" in [f["policy"] for f in plan["findings"]], "the plan warns of what was rolled back before"


def test_what_a_slot_answered_before_is_not_held_against_the_next_release_in_it(cli: Cli) -> None:
    """The gateway remembers half an hour; whoever mends a release tries again within minutes."""
    with Traffic(cli.port) as traffic:
        bad = attempt(cli, error_rate=0.4).json()["outcomes"][0]
        cli.declare(cli.model("v3"))
        good = cli.run("apply", cli.name, "--yes", "--json", code=0).json()["outcomes"][0]
    assert good["phase"] == "promoted", good
    assert exposed(cli, bad["rollout"])[1] > 0
    requests, errors = exposed(cli, good["rollout"])
    assert (requests > 0, errors) == (True, 0), "the other's errors are not its own"
    assert traffic.failed(without=bad["release"]) == 0, traffic.failures


def exposed(cli: Cli, rollout: str) -> tuple[int, int]:
    """Return the challenger's requests and errors that the judge was told of, by their start."""

    async def ticks() -> tuple[Json, ...]:
        store = open_store(cli.spec["store"], home=cli.home, root=cli.folder)
        try:
            return await store.ticks(rollout, next(iter(cli.ports)))
        finally:
            await store.close()

    windows = {
        (body["began"] + window["began_s"], window["weights"]): window["challenger"]
        for body in asyncio.run(ticks())
        for window in body["tick"].get("cohorts", ())
    }
    return sum(window[0] for window in windows.values()), sum(window[2] for window in windows.values())


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({"never_ready": True}, "not ready after 3 s"),
        ({"exit_on_start": True}, "crashed 3 times"),
        ({"wrong_model": "another"}, "another"),
        ({"wrong_root": "/elsewhere"}, "/elsewhere"),
    ],
    ids=["never ready", "dies at its start", "wrong name", "wrong weights"],
)
def test_a_challenger_that_cannot_serve_gets_no_traffic(cli: Cli, faults: dict[str, Any], says: str) -> None:
    champion, generation = cli.serving(), cli.server("a")
    cli.rollout["start_timeout_s"] = 3 if "never_ready" in faults else 120
    with Traffic(cli.port, per_second=20) as traffic:
        outcome = attempt(cli, **faults).json()["outcomes"][0]
        assert (outcome["phase"], says in outcome["reason"]) == ("rolled_back", True), outcome
        untouched(cli, champion, generation)
    assert traffic.failed() == 0, traffic.failures
    assert {release for release, _ in traffic.answers} == {champion}


def test_a_challenger_that_dies_in_the_canary_is_rolled_back(cli: Cli) -> None:
    champion, generation = cli.serving(), cli.server("a")
    with Traffic(cli.port) as traffic:
        outcome = attempt(cli, crash_after_requests=40).json()["outcomes"][0]
        assert (outcome["phase"], "died" in outcome["reason"]) == ("rolled_back", True), outcome
        untouched(cli, champion, generation)
    assert traffic.answers[champion, True] == 0


def test_no_traffic_is_inconclusive_and_pauses(cli: Cli) -> None:
    champion = cli.serving()
    cli.rollout["step_max_s"] = 20
    outcome = attempt(cli).json()["outcomes"][0]
    assert (outcome["phase"], "undecided after 20 s at 10 %" in outcome["reason"]) == ("paused", True), outcome
    status = cli.status()
    assert (status["serving"], status["rollout"]["phase"], status["rollout"]["verdict"]) == (
        champion,
        "paused",
        "INCONCLUSIVE",
    )
    assert {name: slot["weight_pct"] for name, slot in status["slots"].items()} == {"a": 100, "b": 0}
    with Traffic(cli.port) as traffic:
        resumed = cli.run("resume", cli.name, "--endpoint", "chat", "--reason", "there is traffic now", "--json")
        assert resumed.expect(0).json()["phase"] == "promoted"
    assert traffic.failed() == 0, traffic.failures
    assert cli.serving() == outcome["release"]
