"""Engine arguments of Triton: what the server is started with, and each that is refused with its code."""

from __future__ import annotations

from typing import Any

import pytest

from environments.errors import SluiceError, SpecError
from reconciler.core.model.release import Artifact, Release
from reconciler.runtimes.triton.layout import CONTROL, MODELS, REPOSITORY
from reconciler.runtimes.triton.options import KNOWN, OWNED, check_engine, server_arguments
from reconciler.runtimes.triton.runtime import TritonRuntime


def arguments(**engine: Any) -> tuple[str, ...]:
    return server_arguments(engine, repository="/r", models=("chat", "aid"), control="w", host="127.0.0.1", port=8000)


def test_the_server_serves_the_release_and_nothing_else() -> None:
    found = arguments()
    assert found[:4] == (
        "--model-repository=/r",
        "--model-control-mode=explicit",
        "--load-model=chat",
        "--load-model=aid",
    )
    assert {"--exit-on-error=true", "--strict-readiness=true", "--metrics-config=histogram_latencies=true"} <= set(
        found
    )
    assert {"--http-port=8000", "--grpc-port=8001", "--metrics-port=8002"} <= set(found)
    assert {f"--{name}-address=127.0.0.1" for name in ("http", "grpc", "metrics")} <= set(found)


def test_loading_models_takes_the_word() -> None:
    rule = "model-repository,shared-memory,trace,logging:x-sluice-control=w"
    assert {f"--http-restricted-api={rule}", f"--grpc-restricted-protocol={rule}"} <= set(arguments())


def test_engine_arguments_become_options() -> None:
    found = arguments(log_verbose=1, allow_cpu_metrics=False, rate_limit_resource=["a:1", "b:2"], exit_timeout_secs=5)
    assert {"--log-verbose=1", "--allow-cpu-metrics=false", "--exit-timeout-secs=5"} <= set(found)
    assert [each for each in found if each.startswith("--rate")] == [
        "--rate-limit-resource=a:1",
        "--rate-limit-resource=b:2",
    ]


def test_what_is_the_models_is_no_option_of_the_server() -> None:
    assert arguments(max_batch_size=4, instance_count=2, version=3, parameters={"a": "b"}) == arguments()


@pytest.mark.parametrize(
    ("engine", "code", "says"),
    [
        ({"log_verbos": 1}, "RUN-001", 'no engine argument "log_verbos"'),
        ({"max_batch_size": "8"}, "RUN-001", "not a whole number"),
        ({"max_batch_size": True}, "RUN-001", "not a whole number"),
        ({"max_batch_size": -1}, "RUN-001", "max_batch_size is -1"),
        ({"instance_count": 0}, "RUN-001", "instance_count is 0"),
        ({"instance_kind": "tpu"}, "RUN-001", 'instance_kind is "tpu"'),
        ({"version": 0}, "RUN-001", "version is 0"),
        ({"strict_readiness": False}, "RUN-001", "strict_readiness is false"),
        ({"parameters": {"a": 1}}, "RUN-001", "not a block of texts"),
        ({"log_info": None}, "RUN-001", "not true or false"),
        ({"backend_config": []}, "RUN-001", "not a list of texts"),
        ({"backend_config": ["python,x=/etc/passwd"]}, "RUN-006", "leads out of the release"),
        ({"rate_limit": "--model-store"}, "RUN-006", "leads out of the release"),
        ({"vllm": {"trust_remote_code": True}}, "RUN-006", "trust_remote_code"),
        ({"vllm": {"max_model_length": 3}}, "RUN-001", "max_model_length"),
    ],
)
def test_what_cannot_be_used(engine: dict[str, Any], code: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_engine(engine)
    (problem,) = caught.value.problems
    assert problem.code == code
    assert says in problem.what
    assert problem.where.startswith("engine.")


@pytest.mark.parametrize("name", sorted(OWNED))
def test_what_sluice_says_itself_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(SpecError, match="RUN-001") as caught:
        check_engine({name: "x"})
    assert caught.value.problems[0].why == OWNED[name]
    assert name not in KNOWN


def test_everything_is_told_at_once_and_in_order() -> None:
    with pytest.raises(SpecError) as caught:
        check_engine({"port": 1, "id": "x", "version": 0})
    assert [problem.where for problem in caught.value.problems] == ["engine.id", "engine.port", "engine.version"]


def test_adapters_are_refused() -> None:
    adapters = {"acme": Artifact("file:acme", "sha256:2")}
    release = Release("chat", "triton", Artifact("file:m", "sha256:1"), adapters=adapters)
    paths = {REPOSITORY: "/r", MODELS: "chat", CONTROL: "w"}
    with pytest.raises(SluiceError, match="RUN-004"):
        TritonRuntime().options(release, paths=paths, host="127.0.0.1", port=8000)
