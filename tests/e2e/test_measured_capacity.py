"""`sluice gate load --search`: the rate that a release carries goes into the ledger, and from there into every plan."""

from __future__ import annotations

import json
from typing import Any

import httpx

from reconciler.core.canonical import Json
from tests.support.cli import Cli, until
from tests.support.traffic import Traffic

FILE = "loadtests/profiles/short.yaml"
PROFILE: dict[str, Any] = {
    "profile": "short",
    "arrivals": {"kind": "constant", "rate_rps": 40},
    "duration_s": 1,
    "warmup_s": 0,
    "prompt_tokens": {"kind": "fixed", "tokens": 4},
    "output_tokens": {"kind": "fixed", "tokens": 2},
    "timeout_s": 30,
    "late_ms": 10_000,  # the generator shares its cores with everything else
    "slo": {"error_rate": 0.05},
    "search": {"min_rps": 40, "max_rps": 80, "probe_s": 1},
    "live_guard": {"poll_s": 0.5},
}
SEARCH = ("gate", "load", "e2e", "--endpoint", "chat", "--search")


def declare(cli: Cli, model: str = "file:models/v1", *, slo: Json | None = None, **profile: Any) -> None:
    """Write the profile, name it in the rollout's load gate, and promise 2 to 8 replicas and an SLO."""
    (cli.folder / FILE).parent.mkdir(parents=True, exist_ok=True)
    (cli.folder / FILE).write_text(json.dumps({**PROFILE, **profile}))
    cli.rollout["gates"] = {"load": {"profile": FILE, "max_regression": 0.5}}
    cli.spec["endpoints"]["chat"] |= {"replicas": {"min": 2, "max": 8}, "slo": slo or {"ttft_p95_ms": 20000}}
    cli.declare(model)


def recorded(cli: Cli) -> list[Json]:
    """Return what the ledger holds of searches, oldest first."""
    return [entry.body for entry in cli.entries() if entry.kind == "capacity" and entry.address == "e2e/local/chat"]


def test_what_was_measured_stands_in_the_plan(cli: Cli) -> None:
    declare(cli)
    serving = cli.serving()
    assert "keeps its slo" not in cli.run("plan", cli.name, code=0).told, "nothing was measured, so nothing is guessed"
    before = cli.run("plan", cli.name, "--json", code=0).json()

    found = cli.run(*SEARCH, "--json", code=0).json()
    assert (found["rate_rps"], found["release"], found["bounded_by"], found["broke"]) == (80, serving, "max_rps", None)
    assert [probe["rate_rps"] for probe in found["probes"]] == [40, 80]
    [kept] = recorded(cli)
    assert kept == {
        "rate_rps": 80.0,
        "bounded_by": "max_rps",
        "release": serving,
        "profile": "short",
        "probe_s": 1.0,
        "probes": 2,
        "replicas": 1,
    }

    after = cli.run("plan", cli.name, "--json", code=0).json()
    [line] = [each for each in after["capacity"] if "address" in each]
    assert (line["address"], line["measured_rps"], line["carries_rps"]) == ("e2e/local/chat", 80.0, [160.0, 640.0])
    assert after["digest"] == before["digest"], "a plan that was saved before the search is not stale"
    declare(cli, cli.model("v2"))
    assert f"({serving}, {line['measured_at'][:10]}; not the planned chat-" in cli.run("plan", cli.name, code=0).out
    cli.verified()


def test_a_release_that_keeps_no_rate_is_recorded_as_such(cli: Cli) -> None:
    declare(cli, slo={"ttft_p95_ms": 0.01})
    told = cli.run(*SEARCH, code=4).out
    assert "breaks its slo even at 40 requests/s, the lowest rate" in told
    assert "the SLO is 0.01" in told, "the endpoint's promise, which the profile does not make"
    assert [body["rate_rps"] for body in recorded(cli)] == [0.0]
    plan = cli.run("plan", cli.name, "--markdown", code=0).out
    assert "**Capacity:** e2e/local/chat broke its slo at the lowest rate" in plan


def test_a_search_without_an_answer_records_none(cli: Cli) -> None:
    without = {key: value for key, value in PROFILE.items() if key != "search"}
    declare(cli)
    (cli.folder / FILE).write_text(json.dumps(without))
    assert "LOAD-030" in cli.run(*SEARCH, code=1).err

    declare(cli, slo={"error_rate": 0.9}, search={"min_rps": 40, "max_rps": 80, "probe_s": 200})
    server = cli.live().slots["a"].url
    assert server
    running = cli.begin(*SEARCH)
    quiet = seen(server)
    until(lambda: seen(server) > quiet + 20, "no load arrives")
    httpx.post(f"{server}/control", json={"error_rate": 0.5}).raise_for_status()
    with Traffic(cli.port):
        told = running.wait().expect(1).err
    assert "LOAD-031" in told
    assert "live requests fail" in told
    assert recorded(cli) == []


def seen(server: str) -> int:
    """Return how many requests the double has got."""
    count: int = httpx.get(f"{server}/control").raise_for_status().json()["requests"]
    return count
