"""Rollouts on real Triton servers behind the real Envoy: a good release is promoted by the judge, a bad one is not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.cli import Cli, project
from tests.support.real_engines import ROOT, require_triton
from tests.support.servers.triton import CONFIG, model_folder
from tests.support.traffic import InferenceTraffic

pytestmark = [
    pytest.mark.triton,
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("triton"),
]


def model(cli: Cli, name: str, **faults: Any) -> str:
    model_folder(cli.folder / "models", f"triton-{name}", content=name, **faults)
    return f"file:models/triton-{name}"


@pytest.fixture(scope="module")
def cli() -> Iterator[Cli]:
    """Give a project with the model v1 deployed on Triton."""
    serve = list(require_triton())
    with project() as made:
        chat = made.spec["endpoints"]["chat"]
        chat |= {"runtime": "triton", "slo": {"error_rate": 0.05}}
        chat["release"] = {"model": "", "engine": {"instance_count": 1}}
        made.rollout["judge"]["protect"] = [{"metric": "error_rate", "ratio": 5}]
        made.rollout["start_timeout_s"] = 120
        made.spec["regions"]["local"]["serve_command"] = serve
        made.declare(model(made, "v1"))
        made.run("apply", made.name, "--yes", code=0)
        yield made


def answer(cli: Cli) -> str:
    tensor = {"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": ["you"]}
    url = f"http://127.0.0.1:{cli.port}/chat/v2/models/chat/infer"
    said = httpx.post(url, json={"inputs": [tensor]}, timeout=30).raise_for_status().json()
    text: str = said["outputs"][0]["data"][0]
    return text


def test_a_good_release_is_promoted_and_a_broken_one_rolled_back(cli: Cli) -> None:
    first = cli.serving()
    assert answer(cli) == "v1 you"
    with InferenceTraffic(cli.port, per_second=60) as traffic:
        cli.declare(model(cli, "v2"))
        cli.run("apply", cli.name, "--yes", code=0)
        second = cli.serving()
        assert second != first
        assert answer(cli) == "v2 you"
        assert traffic.failed() == 0, traffic.failures
        assert min(traffic.ok(first), traffic.ok(second)) > 0, "the canary split the traffic"

        cli.declare(model(cli, "v3", fail_every=3))
        outcome = cli.run("apply", cli.name, "--yes", "--json", code=4).json()["outcomes"][0]
        assert (outcome["phase"], "error_rate" in outcome["reason"]) == ("rolled_back", True), outcome
        assert cli.serving() == second
        assert answer(cli) == "v2 you"
    assert traffic.failed(without=outcome["release"]) == 0, traffic.failures
    assert traffic.answers[outcome["release"], True] > 0, "its own failures are what it was judged by"
    cli.verified()


def test_a_model_that_triton_cannot_load_gets_no_traffic(cli: Cli) -> None:
    champion = cli.serving()
    reference = model(cli, "v4")
    (cli.folder / "models" / "triton-v4" / "1" / "model.py").write_text("import nowhere")
    cli.declare(reference)
    with InferenceTraffic(cli.port, per_second=20) as traffic:
        outcome = cli.run("apply", cli.name, "--yes", "--json", code=4).json()["outcomes"][0]
        assert (outcome["phase"], "crashed" in outcome["reason"]) == ("rolled_back", True), outcome
    assert traffic.failed() == 0, traffic.failures
    assert cli.serving() == champion


def test_a_folder_that_is_no_repository_is_told_with_its_code(cli: Cli) -> None:
    champion = cli.serving()
    reference = model(cli, "v5")
    (cli.folder / "models" / "triton-v5" / "config.pbtxt").write_text(CONFIG.replace("python", "pyton"))
    cli.declare(reference)
    result = cli.run("apply", cli.name, "--yes", code=4)
    assert "RUN-008" in result.told
    assert 'nearest: "python"' in result.told
    assert cli.serving() == champion


def test_clients_cannot_change_what_is_served(cli: Cli) -> None:
    before = answer(cli)
    for verb in ("load", "unload"):
        url = f"http://127.0.0.1:{cli.port}/chat/v2/repository/models/chat/{verb}"
        assert httpx.post(url, json={}, timeout=30).status_code == 403
    assert answer(cli) == before


def test_gates_that_speak_to_language_models_are_denied_at_plan_time(cli: Cli) -> None:
    profiles = cli.folder / "loadtests" / "profiles"
    profiles.mkdir(parents=True)
    shutil.copy(ROOT / "loadtests" / "profiles" / "chat.yaml", profiles)
    cli.rollout["gates"] = {"load": {"profile": "loadtests/profiles/chat.yaml"}}
    cli.declare(model(cli, "v6"))
    result = cli.run("plan", cli.name, "--json", code=3)
    assert "BUILD-004" in [finding["policy"] for finding in result.json()["findings"]]
