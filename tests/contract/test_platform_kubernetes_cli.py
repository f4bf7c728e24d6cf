"""Commands against a cluster: what a person sees of a region that can be read, and of those that cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from environments.names import namespace
from reconciler.cli.main import run
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.world import declared
from tests.support.processes import ROOT
from tests.support.servers.doubles import model_folder
from tests.support.servers.s3_server import running_s3, s3_client

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("kubernetes")]


@pytest.fixture
def file(cluster: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an environment file of two endpoints in the cluster, which nobody has applied."""
    team = f"cli{tmp_path.name[-6:].replace('_', '').lower()}"
    found = declared(team) | {"registry": {}}
    for endpoint in found["endpoints"].values():
        endpoint["release"] = {"model": "file:models/one"}
    (tmp_path / "models").mkdir()
    model_folder(tmp_path / "models", "one", content="one")
    path = tmp_path / "environments" / "test.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(found))
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace("test", team)}}
    cluster.api.apply(body)
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / ".sluice"))
    return path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    """Run a command with `--json`; return its exit code, the object on stdout, and stderr."""
    code = run([*words, "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out.strip() else None, err


def test_a_plan_of_a_cluster_how_weights_get_there_and_that_they_are_pushed_first(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_s3(monkeypatch):
        s3_client().create_bucket(Bucket="models")
        _, plan, _ = said(capsys, "plan", "-f", str(file))
        denied = [f for f in plan["findings"] if f["level"] == "deny"]
        assert [f["policy"] for f in denied] == ["PLAT-029", "PLAT-029"]
        assert "`sluice models push file:models/one test --endpoint chat`" in denied[0]["message"]
        code, pushed, _ = said(capsys, "models", "push", "file:models/one", "-f", str(file), "--endpoint", "chat")
        assert code == 0
        assert [(c["region"], c["sent_files"]) for c in pushed["copies"]] == [("local", 2)]
        assert run(["models", "push", "file:models/one", "-f", str(file)]) == 0
        assert "0 sent (0.0 MiB), 2 were there already" in capsys.readouterr().out
        code, plan, _ = said(capsys, "plan", "-f", str(file))
    assert code == 0
    assert [c["action"] for c in plan["changes"]] == ["create", "create"]
    told = {f["policy"]: f["message"] for f in plan["findings"]}
    assert "streamed from S3" in told["PLAT-027"]
    assert [f for f in plan["findings"] if f["level"] == "deny"] == []


def test_status_of_a_cluster(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, status, _ = said(capsys, "status", "-f", str(file))
    assert code == 0
    assert [e["serving"] for e in status["endpoints"]] == [None, None]


def test_a_context_that_is_not_there_is_named_with_its_region(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text().replace("context: test", "context: tset"))
    code, _, err = said(capsys, "plan", "-f", str(file))
    assert code == 1
    assert "PLAN-005" in err
    assert "test/local" in err
    assert 'no context "tset" (KUBE-001)' in err


def test_the_shipped_production_no_longer_lacks_an_adapter_for_clusters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its contexts are not those of this machine: each region is named with what to do about it, in one answer."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path))
    monkeypatch.setenv("SLUICE_STORE", "sqlite:///.sluice/prod.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, _, err = said(capsys, "plan", "-f", str(ROOT / "environments" / "prod.yaml"))
    assert code == 1
    assert "adapter" not in err
    for region in ("eu-central-1", "us-east-1"):
        assert f"PLAN-005  prod/{region}" in err
        assert f'no context "sluice-prod-{region}" (KUBE-001)' in err


def test_what_others_own_is_shown_and_taken_over_only_with_a_yes(
    file: Path, capsys: pytest.CaptureFixture[str], cluster: ControlPlane
) -> None:
    """The ledger says before and after it who did it, why, and what was whose."""
    team = yaml.safe_load(file.read_text())["endpoints"]["chat"]["team"]
    route: Any = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "chat", "namespace": namespace("test", team)},
        "spec": {"rules": [{"backendRefs": [{"name": "theirs", "port": 80}]}]},
    }
    cluster.api.apply(route, manager="somebody")
    asked = ["adopt", "-f", str(file), "--endpoint", "chat", "--reason", "they left"]
    assert run(asked) == 1
    err = capsys.readouterr().err
    assert "test/local/chat  HTTPRoute chat  spec.rules  is somebody's (Apply, since " in err
    assert "PLAT-031" in err
    code, done, _ = said(capsys, *asked, "--yes")
    assert code == 0
    assert [(f["address"], f["field"], f["manager"]) for f in done["adopted"]] == [
        ("test/local/chat", "spec.rules", "somebody")
    ]
    _, history, _ = said(capsys, "history", "-f", str(file))
    entries = history["entries"] if isinstance(history, dict) else history
    told = [(e["kind"], e["body"]["reason"], e["body"]["fields"][0]["manager"]) for e in entries]
    assert told == [("adopt.after", "they left", "somebody"), ("adopt.before", "they left", "somebody")]
    assert run([*asked, "--yes"]) == 0
    assert "0 fields adopted" in capsys.readouterr().out


def test_adopting_what_is_not_declared_names_the_nearest(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["adopt", "-f", str(file), "--endpoint", "caht", "--reason", "x"]) == 1
    assert 'nearest: "chat"' in capsys.readouterr().err
