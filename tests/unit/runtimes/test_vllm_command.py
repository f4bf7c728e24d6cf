"""A release becomes vLLM's command line; arguments that cannot be used are named with what is near."""

from __future__ import annotations

from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.core.model.release import Artifact, Release
from reconciler.runtimes.vllm import VllmRuntime
from reconciler.runtimes.vllm_arguments import KNOWN, ON_ONLY, OWNED, SPREAD

MODEL = Artifact("file:models/v1", "sha256:0")


def release(adapters: tuple[str, ...] = (), **engine: Any) -> Release:
    return Release(
        endpoint="chat",
        runtime="vllm",
        model=MODEL,
        engine=engine,
        adapters={name: Artifact(f"mlflow:{name}/1", "sha256:1") for name in adapters},
    )


def arguments(subject: Release, **paths: str) -> tuple[str, ...]:
    found = {"model": "/m"} | {f"adapters.{name}": path for name, path in paths.items()}
    return VllmRuntime().options(subject, paths=found, host="127.0.0.1", port=4711).arguments


def test_the_arguments_are_model_address_name_and_the_engines_own() -> None:
    own = ("/m", "--port", "4711", "--host", "127.0.0.1", "--served-model-name", "chat")
    engine = ("--max-model-len", "2048", "--max-num-seqs", "16")
    assert arguments(release(max_num_seqs=16, max_model_len=2048)) == (*own, *engine)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("enforce_eager", True, ("--enforce-eager",)),
        ("enforce_eager", False, ("--no-enforce-eager",)),
        ("aggregate_engine_logging", True, ("--aggregate-engine-logging",)),
        ("aggregate_engine_logging", False, ()),
        ("gpu_memory_utilization", 0.9, ("--gpu-memory-utilization", "0.9")),
        ("kv_cache_memory_bytes", "128M", ("--kv-cache-memory-bytes", "128M")),
        ("cudagraph_capture_sizes", [1, 2], ("--cudagraph-capture-sizes", "1", "2")),
        ("allowed_origins", ["a", "b"], ("--allowed-origins", '["a","b"]')),
        ("hf_overrides", {"b": 1, "a": [2]}, ("--hf-overrides", '{"a":[2],"b":1}')),
    ],
)
def test_every_kind_of_value(name: str, value: Any, expected: tuple[str, ...]) -> None:
    assert arguments(release(**{name: value}))[7:] == expected


def test_same_release_same_arguments_whatever_the_order() -> None:
    assert arguments(release(seed=1, dtype="auto")) == arguments(release(dtype="auto", seed=1))


def test_an_unknown_argument_names_the_nearest() -> None:
    with pytest.raises(SluiceError) as caught:
        VllmRuntime().check({"max_model_length": 2048})
    assert caught.value.code == "RUN-001"
    assert caught.value.problem.where == "engine.max_model_length"
    assert "max_model_len" in caught.value.problem.why


def test_all_problems_come_at_once_and_sorted() -> None:
    with pytest.raises(SluiceError) as caught:
        VllmRuntime().check({"port": 1, "max-num-seqs": 4, "seed": None, "dtype": "auto"})
    assert [p.where for p in caught.value.problems] == ["engine.max-num-seqs", "engine.port", "engine.seed"]
    assert {p.code for p in caught.value.problems} == {"RUN-001"}


@pytest.mark.parametrize("name", sorted(OWNED))
def test_what_sluice_owns_is_refused_with_a_reason(name: str) -> None:
    assert name in KNOWN
    with pytest.raises(SluiceError, match="RUN-001") as caught:
        VllmRuntime().check({name: "x"})
    assert caught.value.problem.why


def test_the_tables_agree() -> None:
    assert list(KNOWN) == sorted(set(KNOWN))
    assert set(SPREAD) | set(ON_ONLY) <= set(KNOWN) - set(OWNED)


def test_adapters_are_loaded_at_the_start_under_their_names() -> None:
    found = arguments(release(("globex", "acme")), globex="/a/globex", acme="/a/acme")
    assert found[7:] == (
        "--enable-lora",
        "--lora-modules",
        '{"name": "acme", "path": "/a/acme"}',
        '{"name": "globex", "path": "/a/globex"}',
    )


def test_an_adapter_without_a_folder_is_refused() -> None:
    with pytest.raises(SluiceError, match="RUN-004"):
        arguments(release(("acme",)))
