"""`kill -9` of what serves: a slot's server, its supervisor, Envoy. What comes back by itself, what apply repairs."""

from __future__ import annotations

import pytest

from tests.support.cli import Cli, kill, until
from tests.support.traffic import Traffic

pytestmark = pytest.mark.timeout(900)


def test_a_killed_server_comes_back_by_itself(cli: Cli) -> None:
    champion, killed = cli.serving(), cli.server("a")
    with Traffic(cli.port, per_second=50) as traffic:
        until(lambda: traffic.ok(champion), "no answer at first")
        kill(killed)
        until(lambda: cli.status()["slots"]["a"]["ready"] or None, "the supervisor did not start it again")
        so_far = traffic.ok(champion)
        until(lambda: traffic.ok(champion) > so_far, "no answer after the restart")
    assert cli.server("a") != killed
    cli.run("plan", cli.name, "--detailed-exitcode", code=0)
    cli.run("drift", cli.name, code=0)
    cli.verified()


def test_a_killed_supervisor_is_an_update_that_apply_repairs(cli: Cli) -> None:
    champion, server = cli.serving(), cli.server("a")
    kill(cli.supervisor("a"))
    until(lambda: not server.alive, "the kernel ends a server whose supervisor has died")
    plan = cli.run("plan", cli.name, "--detailed-exitcode", "--json", code=2).json()
    (change,) = plan["changes"]
    assert (change["action"], change["moves_by"]) == ("update", "cold_load")
    assert "slots.a.ready" in [field["path"] for field in change["fields"]]
    outcome = cli.run("apply", cli.name, "--yes", "--json", code=0).json()["outcomes"][0]
    assert (outcome["phase"], cli.serving()) == ("promoted", champion)
    with Traffic(cli.port, per_second=50) as traffic:
        until(lambda: traffic.ok(champion) > 20, "no answers after the repair")
    assert traffic.failed() == 0, traffic.failures
    assert (len(cli.processes()), len(cli.supervisors())) == (2, 2)
    cli.run("plan", cli.name, "--detailed-exitcode", code=0)


def test_a_killed_envoy_comes_back_with_the_weights_in_force(cli: Cli) -> None:
    champion, killed = cli.serving(), cli.envoy()
    with Traffic(cli.port, per_second=50) as traffic:
        until(lambda: traffic.ok(champion), "no answer at first")
        kill(killed)
        until(lambda: not killed.alive and cli.envoy_runs(), "the supervisor did not start Envoy again")
        so_far = traffic.ok(champion)
        until(lambda: traffic.ok(champion) > so_far, "no answer after the restart")
        assert cli.serving() == champion
    cli.run("plan", cli.name, "--detailed-exitcode", code=0)


def test_a_rollout_goes_on_over_a_killed_envoy(cli: Cli) -> None:
    cli.rollout["step_min_s"] = 4
    cli.declare(cli.model("v2"))
    begun = len(cli.entries())
    with Traffic(cli.port, per_second=80) as traffic:
        applying = cli.begin("apply", cli.name, "--yes", "--json")
        cli.until_told("weigh.after", after=begun)
        kill(cli.envoy())
        result = applying.wait()
        outcome = result.json()["outcomes"][0]
        assert outcome["phase"] in ("promoted", "rolled_back", "paused"), result.told
        if outcome["phase"] == "paused":
            cli.run("abort", cli.name, "--endpoint", "chat", "--reason", "Envoy was killed", code=0)
        served = cli.serving()
        so_far = traffic.ok(served)
        until(lambda: traffic.ok(served) > so_far, "no answers afterwards")
    cli.verified()
    assert len(cli.supervisors()) == len(cli.processes()) <= 3
