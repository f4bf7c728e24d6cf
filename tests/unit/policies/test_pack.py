"""The CrossGuard pack as a process: started as the engine starts it, asked over gRPC as the engine asks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from policies.catalog import CATALOG
from policies.policy import OnResource
from tests.support.lifeline import dies_with_parent
from tests.unit.policies.fixtures import ROOT, TABLE

UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def start(stack: str | None, *, cwd: Path) -> subprocess.Popen[str]:
    """Start the pack; its first line of output is its port. Older engines name the stack in the environment."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PULUMI_", "SLUICE_"))}
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:0", str(ROOT / "policies")],
        cwd=cwd,
        env={**clean, **({"PULUMI_STACK": stack} if stack else {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=dies_with_parent(),
    )


@pytest.fixture(scope="module")
def analyzer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield a client of production's pack."""
    grpc = import_module("grpc")
    from pulumi.runtime.proto import analyzer_pb2_grpc

    process = start(None, cwd=tmp_path_factory.mktemp("elsewhere"))
    assert process.stdout
    port = process.stdout.readline().strip()
    try:
        assert port.isdigit(), process.communicate(timeout=10)[1]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield analyzer_pb2_grpc.AnalyzerStub(channel)
    finally:
        process.kill()
        process.wait()


def analyze(analyzer: Any, kind: str, props: dict[str, Any]) -> dict[str, Any]:
    """Return the pack's diagnostics of one resource by policy."""
    struct_pb2 = import_module("google.protobuf.struct_pb2")
    from pulumi.runtime.proto import analyzer_pb2

    properties = struct_pb2.Struct()
    properties.update(props)
    request = analyzer_pb2.AnalyzeRequest(type=kind, properties=properties, urn=f"urn:pulumi:{kind}::x", name="x")
    return {d.policyName: d for d in analyzer.Analyze(request).diagnostics}


def test_it_offers_every_infrastructure_policy(analyzer: Any) -> None:
    empty_pb2 = import_module("google.protobuf.empty_pb2")

    info = analyzer.GetAnalyzerInfo(empty_pb2.Empty())
    assert info.name == "sluice"
    assert {p.name for p in info.policies} == {*TABLE, "POL-001"}


ON_ONE_RESOURCE = sorted(policy.id for policy in CATALOG if isinstance(policy.rule, OnResource))


@pytest.mark.parametrize("policy_id", ON_ONE_RESOURCE)
def test_it_refuses_what_the_rule_refuses(analyzer: Any, policy_id: str) -> None:
    from pulumi.runtime.proto import analyzer_pb2

    kind, props, *_ = TABLE[policy_id]["bad"][0]
    found = analyze(analyzer, kind, props)[policy_id]
    assert TABLE[policy_id]["says"] in found.message
    assert found.enforcementLevel == analyzer_pb2.MANDATORY


def test_it_judges_whole_stacks(analyzer: Any) -> None:
    struct_pb2 = import_module("google.protobuf.struct_pb2")
    from pulumi.runtime.proto import analyzer_pb2

    def asked(policy_id: str, side: str) -> set[str]:
        resources = []
        for number, (kind, props, *needs) in enumerate(TABLE[policy_id][side]):
            properties = struct_pb2.Struct()
            properties.update({k: UNKNOWN_TEXT if v == "?" else v for k, v in props.items()})
            urn = f"{kind}::{number}"
            resources.append(
                analyzer_pb2.AnalyzerResource(
                    type=kind, properties=properties, urn=urn, name=f"r{number}", dependencies=needs[0] if needs else []
                )
            )
        answer = analyzer.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest(resources=resources))
        return {d.policyName for d in answer.diagnostics}

    for policy_id in ("S3-001", "S3-002", "NET-003", "NET-005", "K8S-009", "GPU-004"):
        assert policy_id in asked(policy_id, "bad")
        assert policy_id not in asked(policy_id, "good")
    assert "POL-001" in asked("NET-005", "good")


def test_what_is_not_known_in_a_preview_is_no_violation_and_no_complaint(analyzer: Any) -> None:
    found = analyze(analyzer, "aws:rds/instance:Instance", {"storageEncrypted": UNKNOWN_TEXT, "multiAz": UNKNOWN_TEXT})
    assert not {"RDS-001", "RDS-005"} & set(found)
    assert not [d for d in found.values() if "can't run policy" in d.message]


def test_levels_are_those_of_the_stack_that_the_engine_names(analyzer: Any) -> None:
    from pulumi.runtime.proto import analyzer_pb2

    kind, props, *_ = TABLE["EKS-001"]["bad"][0]
    levels = []
    for stack in ("dev", "acme/sluice-platform/prod"):
        analyzer.ConfigureStack(analyzer_pb2.AnalyzerStackConfigureRequest(stack=stack, project="sluice-platform"))
        levels.append(analyze(analyzer, kind, props)["EKS-001"].enforcementLevel)
    assert levels == [analyzer_pb2.ADVISORY, analyzer_pb2.MANDATORY]


def test_an_engine_that_names_an_unknown_stack_is_told_so(analyzer: Any) -> None:
    from pulumi.runtime.proto import analyzer_pb2

    grpc = import_module("grpc")
    with pytest.raises(grpc.RpcError) as caught:
        analyzer.ConfigureStack(analyzer_pb2.AnalyzerStackConfigureRequest(stack="prdo"))
    assert "SPEC-001" in caught.value.details()
    assert 'nearest: "prod"' in caught.value.details()


def test_a_stack_without_an_environment_is_a_coded_error(tmp_path: Path) -> None:
    process = start("prdo", cwd=tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "SPEC-001" in errors
    assert 'nearest: "prod"' in errors
    assert "Traceback" not in errors


def test_a_rule_that_raises_is_a_violation_with_a_code_and_takes_no_other_with_it() -> None:
    """At its own level: the engine stops for a policy that denies, and goes on asking the others."""
    from environments.load import load
    from policies.catalog import known_ids
    from policies.pack import enforcement, pack_policies
    from policies.policy import StackContext

    spec = load(ROOT / "environments" / "prod.yaml", policy_ids=known_ids(), unset="keep").spec
    wrapped = {each.name: each for each in pack_policies(StackContext(spec))}
    policy = next(each for each in CATALOG if isinstance(each.rule, OnResource) and each.level(spec) == "deny")
    assert isinstance(policy.rule, OnResource)
    asked_for = min(policy.rule.types)

    class Args:
        resource_type, name, urn = asked_for, "x", "urn:x"

        @property
        def props(self) -> Any:
            raise KeyError("password=hunter2hunter2")

    said: list[str] = []
    wrapped[policy.id].validate(Args(), lambda message, urn=None: said.append(message))  # type: ignore[attr-defined]
    [message] = said
    assert message.startswith(f"POL-003: {policy.id} raised KeyError")
    assert "hunter2" not in message
    assert enforcement(policy.level(spec)).value == "mandatory"
