"""What a plan and `policy check` find in an environment's files: all at once, in time, and covered by the digest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import run
from tests.support.servers.doubles import model_folder

SUITE = """suite: s
version: 1
scorers: {ok: {kind: length}}
thresholds: {ok: 0.9}
cases: [{id: a, input: x, scorer: ok}]
"""
PROFILE = "profile: p\narrivals: {kind: poisson, rate_rps: 5}\nduration_s: 10\nslo: {error_rate: 0.1}\n"
Spec = dict[str, Any]


class Project:
    """An environment of one endpoint with both gates, in a folder of its own."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys
        (root / "environments").mkdir()
        model_folder(root, "v1")
        self.write("prompt.txt", "be brief")
        self.write("suite.yaml", SUITE)
        self.write("profile.yaml", PROFILE)
        release: Spec = {"model": "file:v1", "prompts": {"system": "file:prompt.txt"}, "engine": {"max_model_len": 256}}
        gates = {"eval": {"suite": "suite.yaml"}, "load": {"profile": "profile.yaml"}}
        self.endpoint: Spec = {"team": "t", "runtime": "vllm", "gpus_per_replica": 0, "release": release}
        self.endpoint["rollout"] = {"gates": gates}
        self.spec: Spec = {"environment": "dev", "owner": "us", "store": "sqlite:///.sluice/dev.db"}
        region = {"platform": "local", "gateway_port": 18080, "serve_command": ["vllm", "serve"]}
        self.spec |= {"regions": {"local": region}, "endpoints": {"chat": self.endpoint}}

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def run(self, *words: str, code: int) -> tuple[str, str]:
        self.write("environments/dev.yaml", json.dumps(self.spec, indent=1))
        self._capsys.readouterr()
        assert run([*words]) == code, self._capsys.readouterr()
        shown = self._capsys.readouterr()
        return shown.out, shown.err

    def plan(self) -> Spec:
        found: Spec = json.loads(self.run("plan", "dev", "--json", code=0)[0])
        return found


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("SLUICE_ENVIRONMENTS", "SLUICE_HOME", "SLUICE_FILE_ROOTS", "SLUICE_STORE", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


def test_everything_that_is_wrong_is_told_at_once(project: Project) -> None:
    release = project.endpoint["release"]
    release["model"], release["prompts"] = "file:v2", {"system": "file:gone.txt", "other": "file:/etc/passwd"}
    release["engine"] = {"max_model_length": 1, "trust_remote_code": True}
    project.write("suite.yaml", SUITE.replace("version: 1", "version: x"))
    project.write("profile.yaml", PROFILE + "durations_s: 4\n")
    _, err = project.run("plan", "dev", code=1)
    codes = [line.split()[0] for line in err.splitlines() if not line.startswith(" ")]
    assert sorted(codes) == ["EVAL-004", "FILE-001", "LOAD-003", "REG-001", "REG-001", "RUN-001", "RUN-006"]
    for path in ("model", "system", "other", "max_model_length", "trust_remote_code"):
        line = next(n for n, text in enumerate(_lines(project), 1) if f'"{path}":' in text)
        assert f"environments/dev.yaml:{line}" in err, path


def _lines(project: Project) -> list[str]:
    return (project.root / "environments" / "dev.yaml").read_text().splitlines()


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("suite.yaml", SUITE.replace("version: 1", "version: x"), "EVAL-004"),
        ("profile.yaml", PROFILE.replace("duration_s: 10", "duration_s: ten"), "LOAD-004"),
        ("profile.yaml", PROFILE.replace("duration_s: 10", "duration_s: 900"), "LOAD-008"),
        ("profile.yaml", PROFILE.replace("{kind: poisson, rate_rps: 5}", "{kind: trace, file: no.jsonl}"), "LOAD-007"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "policy check"])
def test_files_of_gates_are_read_before_anything_starts(
    project: Project, command: str, name: str, text: str, code: str
) -> None:
    project.write(name, text)
    assert code in project.run(*command.split(), "dev", code=1)[1]


def test_policy_check_finds_engine_arguments_without_asking_a_server(project: Project) -> None:
    project.endpoint["release"]["model"] = "mlflow:chat/1"
    project.spec["registry"] = {"mlflow": "http://127.0.0.1:9"}
    assert "0 of them deny" in project.run("policy", "check", "dev", code=0)[0]
    project.endpoint["release"]["engine"]["dtyp"] = "auto"
    assert "RUN-001" in project.run("policy", "check", "dev", code=1)[1]


def test_policy_list_takes_an_environment(project: Project) -> None:
    project.spec["policies"] = {"REL-003": "deny"}
    assert any(
        line.split()[:2] == ["REL-003", "deny"] for line in project.run("policy", "list", "dev", code=0)[0].splitlines()
    )
    assert any(
        line.split()[:2] == ["REL-003", "warn"] for line in project.run("policy", "list", code=0)[0].splitlines()
    )


CHANGES: dict[str, Callable[[Project], None]] = {
    "suite": lambda project: project.write("suite.yaml", SUITE.replace("0.9", "0.1")),
    "profile": lambda project: project.write("profile.yaml", PROFILE.replace("0.1", "0.9")),
    "trace": lambda project: project.write("trace.jsonl", '{"at_s": 2.0}\n'),
}


@pytest.mark.parametrize("changed", sorted(CHANGES))
def test_an_approval_covers_the_files_that_decide(project: Project, changed: str) -> None:
    if changed == "trace":
        project.write("trace.jsonl", '{"at_s": 1.0}\n')
        project.write(
            "profile.yaml", PROFILE.replace("{kind: poisson, rate_rps: 5}", "{kind: trace, file: trace.jsonl}")
        )
    before = project.plan()
    assert project.plan()["digest"] == before["digest"]
    project.run("plan", "dev", "-o", "plan.json", code=0)
    CHANGES[changed](project)
    after = project.plan()
    assert after["digest"] != before["digest"]
    assert sorted(after["gate_digests"]) == ["chat/eval", "chat/load"]
    _, err = project.run("apply", "plan.json", code=6)
    assert f"that of chat/{'eval' if changed == 'suite' else 'load'}" in err


def test_a_gate_that_cannot_pass_a_first_deployment_is_told_by_the_plan(project: Project) -> None:
    project.write("suite.yaml", SUITE.replace("thresholds: {ok: 0.9}\n", ""))
    project.write("profile.yaml", PROFILE.replace("slo: {error_rate: 0.1}\n", ""))
    warned = [f["message"] for f in project.plan()["findings"] if f["policy"] == "GATE-005"]
    assert len(warned) == 2
    assert "add `thresholds: {ok: 0.9}` to suite.yaml, or expect `sluice promote`" in warned[0]
    assert "add `slo:`" in warned[1]
    project.endpoint["slo"] = {"error_rate": 0.05}
    assert len([f for f in project.plan()["findings"] if f["policy"] == "GATE-005"]) == 1


def test_outputs_are_the_addresses_that_clients_call(project: Project) -> None:
    out, _ = project.run("outputs", "dev", code=0)
    assert out == "dev/local/chat  http://127.0.0.1:18080/chat/v1\n"
    found = json.loads(project.run("outputs", "dev", "--json", code=0)[0])
    assert found["outputs"] == [{"address": "dev/local/chat", "url": "http://127.0.0.1:18080/chat/v1", "how": ""}]
