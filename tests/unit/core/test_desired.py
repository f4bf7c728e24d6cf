"""The desired state: what has to be resolved, the release that comes of it, and where it goes in which wave."""

from __future__ import annotations

from pathlib import Path

from environments.names import Address
from environments.spec import EnvironmentSpec
from reconciler.core.model.desired import ResolvedRef, desired_state, references, release_of
from reconciler.core.model.release import Artifact, Lineage, Release
from reconciler.core.model.settings import settings_of
from tests.support.builders.releases import release
from tests.unit.environments.loading import BASE, load_text

PLAIN = """  code:
    team: support
    runtime: triton
    gpus_per_replica: 0
    release: {model: "mlflow:code-llm/1"}
"""


def spec(folder: Path) -> EnvironmentSpec:
    return load_text(BASE.replace("endpoints:\n", f"endpoints:\n{PLAIN}", 1), folder).spec


def resolved(declared: EnvironmentSpec, name: str) -> dict[str, ResolvedRef]:
    return {
        path: ResolvedRef(
            Artifact(ref, f"sha256:{path}"), Lineage(run_id=path), "Be kind." if kind == "prompt" else None
        )
        for path, kind, ref in references(declared.endpoints[name].release)
    }


def test_all_that_a_release_names_is_resolved(tmp_path: Path) -> None:
    declared = spec(tmp_path).endpoints
    assert references(declared["chat"].release) == (
        ("adapters.acme", "adapter", "mlflow:chat-acme/3"),
        ("guardrails", "guardrails", "file:environments/guardrails.yaml"),
        ("index", "index", "s3://kb/chat@2026-11-20"),
        ("model", "model", "mlflow:chat-llm/7"),
        ("prompts.system", "prompt", "mlflow:chat-system/12"),
    )
    assert references(declared["code"].release) == (("model", "model", "mlflow:code-llm/1"),)


def test_a_release_is_made_of_what_was_resolved(tmp_path: Path) -> None:
    declared = spec(tmp_path)
    made = release_of("chat", declared.endpoints["chat"], resolved(declared, "chat"))
    assert made == Release(
        endpoint="chat",
        runtime="vllm",
        model=Artifact("mlflow:chat-llm/7", "sha256:model"),
        engine={"dtype": "auto", "max_model_len": 8192},
        prompts={"system": Artifact("mlflow:chat-system/12", "sha256:prompts.system")},
        adapters={"acme": Artifact("mlflow:chat-acme/3", "sha256:adapters.acme")},
        index={
            "ref": "s3://kb/chat@2026-11-20",
            "digest": "sha256:index",
            "built_at": "2026-11-20T04:00:00+00:00",
            "max_age_h": 24,
        },
        guardrails=Artifact("file:environments/guardrails.yaml", "sha256:guardrails"),
    )
    assert list(made.engine) == ["dtype", "max_model_len"]
    paths = ["adapters.acme", "guardrails", "index", "model", "prompts.system"]
    assert made.lineage == {path: Lineage(run_id=path) for path in paths}
    assert list(made.lineage) == paths
    assert made.prompt_texts == {"system": "Be kind."}


def test_a_release_of_a_model_alone(tmp_path: Path) -> None:
    declared = spec(tmp_path)
    made = release_of("code", declared.endpoints["code"], resolved(declared, "code"))
    assert made == Release("code", "triton", Artifact("mlflow:code-llm/1", "sha256:model"))
    silent = {**resolved(declared, "chat"), "prompts.system": ResolvedRef(Artifact("x", "y"), Lineage())}
    assert release_of("chat", declared.endpoints["chat"], silent).prompt_texts == {"system": ""}


def test_every_region_is_in_its_wave_and_needs_the_gpus_of_its_smallest_size(tmp_path: Path) -> None:
    text = BASE.replace("replicas: {min: 1, max: 2}\n    gpus_per_replica: 1", "replicas: {min: 2, max: 2}", 1)
    declared = load_text(text, tmp_path).spec
    chat = release("v1")
    state = desired_state(declared, {"chat": chat, "other": chat})
    assert [(e.address, e.wave) for e in state.endpoints] == [
        (Address("base", "eu", "chat"), 1),
        (Address("base", "us", "chat"), 2),
    ]
    first = state.endpoints[0]
    each = declared.endpoints["chat"]
    assert (first.release, first.team, first.pool, first.settings) == (chat, "support", "l4", settings_of(each))
    assert first.gpus == 2 * each.gpus_per_replica > 0
    assert state.environment == "base"
    assert state.endpoint(first.address) is first
    assert state.endpoint(Address("base", "here", "chat")) is None


def test_endpoints_that_nobody_asked_for_are_left_out_and_all_are_sorted(tmp_path: Path) -> None:
    declared = spec(tmp_path)
    both = {"code": release("v1", endpoint="code"), "chat": release("v1")}
    assert [str(e.address) for e in desired_state(declared, both).endpoints] == [
        "base/eu/chat", "base/eu/code", "base/here/code", "base/there/code", "base/us/chat", "base/us/code"
    ]  # fmt: skip
    assert {e.address.endpoint for e in desired_state(declared, {"chat": both["chat"]}).endpoints} == {"chat"}
