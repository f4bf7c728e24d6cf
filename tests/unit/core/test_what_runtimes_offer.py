"""A plan denies what a runtime's servers do not give: gates in another protocol, latencies that nobody tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from environments.gates import SPOKEN
from environments.names import Address
from environments.spec import EnvironmentSpec
from policies.plans import check_spec
from reconciler.core.plan.change import Action, Change, MovesBy
from reconciler.planning.buildable import unbuildable
from reconciler.pointers.flagd import FlagdPointers
from reconciler.ports import Runtime
from reconciler.ports.adapters import RegionReader
from reconciler.runtimes.triton.runtime import TritonRuntime
from reconciler.runtimes.vllm import VllmRuntime
from tests.support.fakes.platform import FakePlatform
from tests.unit.policies.fixtures import shipped

RUNTIMES: dict[str, Runtime] = {"triton": TritonRuntime(), "vllm": VllmRuntime()}
ERRORS = {"metric": "error_rate", "ratio": 2}
LOAD = {"load": {"profile": "p.yaml"}}
EVAL = {"eval": {"suite": "s.yaml"}}


def found(runtime: str, rollout: dict[str, Any]) -> set[tuple[str, str]]:
    """Return code and level of what is said of a rollout on a runtime."""
    spec = EnvironmentSpec.model_validate(
        {
            "environment": "e",
            "owner": "tests",
            "store": "sqlite:///x.db",
            "regions": {"local": {"platform": "local", "gateway_port": 18080, "serve_command": ["serve"]}},
            "endpoints": {
                "chat": {"team": "tests", "runtime": runtime, "release": {"model": "file:m"}, "rollout": rollout}
            },
        }
    )
    address = Address("e", "local", "chat")
    readers = {"local": RegionReader("local", FakePlatform("e", "local"), FlagdPointers(Path()))}
    change = Change(address, Action.ROLLOUT, (), MovesBy.WARM_LOAD)
    findings = unbuildable(spec, [change], readers, runtimes=RUNTIMES, gates={"eval", "load"})
    return {(finding.policy, finding.level) for finding in findings}


@pytest.mark.parametrize("gate", [LOAD, EVAL])
def test_gates_ask_language_models_in_their_own_protocol(gate: dict[str, Any]) -> None:
    rollout = {"gates": gate, "judge": {"protect": [ERRORS]}}
    assert found("triton", rollout) == {("BUILD-004", "deny")}
    assert found("vllm", rollout) == set()


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_what_files_and_adapters_say_of_a_protocol_is_the_same(name: str) -> None:
    assert SPOKEN[name] == RUNTIMES[name].offers.protocol


def test_a_gate_is_demanded_only_where_one_could_ask() -> None:
    """ROL-003 and BUILD-004 must never both deny: then nothing could be declared."""
    embed = shipped("prod").endpoints["embed"]
    for runtime, demanded in (("triton", False), ("vllm", True)):
        spec = shipped("prod").model_copy(
            update={"endpoints": {"embed": embed.model_copy(update={"runtime": runtime})}}
        )
        assert any(finding.policy == "ROL-003" for finding in check_spec(spec)) is demanded


def test_what_nobody_tells_cannot_be_protected() -> None:
    assert found("triton", {"judge": {"protect": [ERRORS, {"metric": "itl", "ratio": 2}]}}) == {("BUILD-005", "deny")}
    assert found("triton", {"judge": {"protect": [ERRORS, {"metric": "ttft", "ratio": 2}]}}) == {("BUILD-005", "warn")}
    assert found("triton", {"judge": {"protect": [ERRORS]}}) == set()


def test_the_defaults_are_those_of_language_models() -> None:
    assert found("vllm", {}) == set()
    assert found("triton", {}) == {("BUILD-005", "deny"), ("BUILD-005", "warn")}


def test_a_flip_protects_nothing() -> None:
    assert found("triton", {"strategy": "blue_green"}) == set()
