"""How plans read: on a terminal that is piped, and as Markdown in a pull request."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from environments.names import Address
from environments.prices import packaged
from environments.spec import EnvironmentSpec
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.model.finding import Finding
from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, ObservedState
from reconciler.core.model.release import Release
from reconciler.core.plan.change import Change
from reconciler.core.plan.drift import Drift
from reconciler.core.plan.measured import Measurement
from reconciler.core.plan.plan import Plan, World, changes_of, make_plan
from reconciler.output.console import console
from reconciler.output.plan_markdown import Reviewed, plan_markdown
from reconciler.output.plan_text import print_plan
from tests.golden.test_environments import expect_same
from tests.support.builders.releases import SETTINGS, release, slot

HERE = Path(__file__).parent
POOL = {
    "gpu": "L4",
    "instance": "g6.2xlarge",
    "gpus_per_node": 1,
    "vram_gib": 24,
    "nodes": {"min": 1, "max": 3},
}
OLD = replace(release("one", prompt="p1"), engine={"max_num_seqs": 32})
NEW = replace(release("two", prompt="p2"), engine={"max_model_len": 8192, "max_num_seqs": 64})
REGIONS = ("north", "south")


def spec() -> EnvironmentSpec:
    local: dict[str, Any] = {"platform": "local", "serve_command": ["x"], "gpu_pools": {"l4": POOL}}
    chat = {
        "team": "support",
        "runtime": "vllm",
        "pool": "l4",
        "replicas": {"min": 2, "max": 8},
        "release": {"model": "file:models/two"},
    }
    return EnvironmentSpec.model_validate(
        {
            "environment": "test",
            "owner": "us",
            "store": "sqlite:///x.db",
            "regions": {name: {**local, "gateway_port": 18080 + i} for i, name in enumerate(REGIONS)},
            "endpoints": {"chat": chat},
        }
    )


def desired(wanted: Release) -> DesiredState:
    endpoints = [
        DesiredEndpoint(Address("test", region, "chat"), wave, wanted, SETTINGS, "support", "l4", 1)
        for wave, region in enumerate(REGIONS)
    ]
    return DesiredState("test", tuple(endpoints))


def serving(region: str, held: Release, *, prompts: bool = True) -> ObservedEndpoint:
    slots = {"a": slot(held, ready=True, warm=True, weight_pct=100), "b": ObservedSlot()}
    published = {"system": ((held.id, 100.0),)} if prompts else {}
    return ObservedEndpoint(Address("test", region, "chat"), slots, published)


def live(*endpoints: ObservedEndpoint) -> ObservedState:
    return ObservedState({e.address: e for e in endpoints})


def made(
    observed: ObservedState,
    findings: Callable[[tuple[Change, ...]], list[Finding]] = lambda _: [],
    measured: Mapping[Address, Measurement] | None = None,
) -> Plan:
    drifted = (Drift("test/north/chat", "slots.a.weight_pct", "100", "90"),) if observed.endpoints else ()
    world = World(spec(), desired(NEW), observed, {}, drift=drifted, measured=measured or {}, prices=packaged())
    changes = changes_of(world)
    return make_plan(world, changes, findings(changes), "2026-11-20T04:00:00.000Z")


MEASURED = {
    Address("test", "north", "chat"): Measurement(22.6274, 1, NEW.id, "2026-11-20T03:00:00.000Z"),
    Address("test", "south", "chat"): Measurement(24.0, 1, OLD.id, "2026-11-18T03:00:00.000Z"),
}


def denied(changes: tuple[Change, ...]) -> list[Finding]:
    message = "the surge needs 4 GPUs | <3> are there\nand no more can be added"
    return [
        Finding("GPU-001", "deny", str(changes[0].address), message),
        Finding("COST-002", "warn", str(changes[0].address), "costs 40 % more while it runs"),
        Finding("REL-003", "info", "test/*/chat", "engine.max_model_len is not set"),
    ]


PLANS = {
    "create": made(ObservedState()),
    "rollout": made(live(*(serving(region, OLD) for region in REGIONS)), denied),
    "update": made(live(serving("north", NEW, prompts=False), serving("south", NEW))),
    "nothing": replace(made(live(*(serving(region, NEW) for region in REGIONS))), drift=()),
    "measured": made(live(*(serving(region, OLD) for region in REGIONS)), measured=MEASURED),
    "remove": make_plan(
        world := World(spec(), DesiredState("test", ()), live(serving("north", OLD)), {}, prices=packaged()),
        changes_of(world),
        [],
        "2026",
    ),
    "gaps": replace(
        made(ObservedState()), gaps=("region east: this build has no adapter for platform kubernetes yet",)
    ),
}


def steady(text: str) -> str:
    """Return the text without what changes with every field of the environment file."""
    return re.sub(r"sha256:[0-9a-f]{64}", "sha256:DIGEST", text)


@pytest.mark.parametrize("name", sorted(PLANS))
def test_how_a_plan_reads(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(PLANS[name], console())
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    expect_same(HERE / f"plan_{name}.txt", steady(printed))


@pytest.mark.parametrize("name", sorted(PLANS))
def test_how_a_plan_reads_in_a_pull_request(name: str) -> None:
    text = plan_markdown(Reviewed(PLANS[name], spec(), lambda found: f"environments/test.yaml:{len(found.policy)}"))
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.rstrip().endswith("|") for line in tables), "no cell breaks its row"
    expect_same(HERE / f"plan_{name}.md", steady(text))
