"""Plans for reviewers: against a git revision and against what was recorded, without a look at what is live."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from environments.errors import SluiceError
from reconciler.cli.main import run
from reconciler.core.plan.change import Action
from reconciler.core.plan.plan import Plan, Scope, plan_to_json
from reconciler.core.plan.supposed import as_recorded
from reconciler.planning.history import recall
from reconciler.planning.unread import RECORDED, plan_recorded
from tests.support.builders.declared import Declared
from tests.support.builders.releases import ENVIRONMENT
from tests.support.fakes.loop_world import LoopWorld

GIT = {
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip


class Project:
    """A repository with one environment. Its store and its registry are where nobody answers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spec: dict[str, Any] = {
            "environment": "dev",
            "owner": "us",
            "store": "postgresql+psycopg://nobody@127.0.0.1:1/none",
            "registry": {"mlflow": "http://127.0.0.1:1"},
            "regions": {"eu": {"platform": "local", "gateway_port": 18080, "serve_command": ["x"]}},
            "endpoints": {},
        }
        self.declare("chat", model="mlflow:chat-llm/7")
        self.git("init", "-q")

    def declare(self, name: str, **release: Any) -> None:
        endpoint = {"team": "t", "runtime": "vllm", "gpus_per_replica": 0, "release": release}
        self.spec["endpoints"][name] = endpoint
        self.write()

    def write(self) -> None:
        folder = self.root / "environments"
        folder.mkdir(exist_ok=True)
        (folder / "dev.yaml").write_text(yaml.safe_dump(self.spec))

    def commit(self) -> str:
        self.git("add", "environments")
        self.git("commit", "-q", "-m", "a state of the file")
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.root, env={**os.environ, **GIT}, check=True, capture_output=True, text=True
        )
        return done.stdout


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SLUICE_ENVIRONMENTS", raising=False)
    return Project(tmp_path)


def planned(capsys: pytest.CaptureFixture[str], *options: str, code: int = 0) -> Any:
    assert run(["plan", "dev", "--json", *options]) == code
    return json.loads(capsys.readouterr().out)


def test_a_pull_request_shows_what_it_moves_without_store_registry_or_cluster(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.commit()
    project.declare("chat", model="mlflow:chat-llm/8", engine={"max_num_seqs": 32})
    project.declare("code", model="mlflow:code/1")
    plan = planned(capsys, "--against", "HEAD")
    actions = {change["address"]: change["action"] for change in plan["changes"]}
    assert actions == {"dev/eu/chat": "rollout", "dev/eu/code": "create"}
    chat = next(change for change in plan["changes"] if change["address"] == "dev/eu/chat")
    assert {"path": "model", "from": "mlflow:chat-llm/7", "to": "mlflow:chat-llm/8"} in chat["fields"]
    assert any(step["address"] == "dev/eu/chat" for step in plan["steps"])
    assert plan["digest"] is None
    assert plan["compared_with"].startswith("git HEAD (")
    assert not (project.root / "home").exists(), "it leaves nothing behind"


def test_nothing_changed_is_nothing_to_do_and_every_output_says_what_was_not_read(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.commit()
    assert {change["action"] for change in planned(capsys, "--against", "HEAD")["changes"]} == {"none"}
    for options in ((), ("--markdown",)):
        assert run(["plan", "dev", "--against", "HEAD", *options]) == 0
        assert "live state was not read" in capsys.readouterr().out


def test_a_file_that_was_not_there_is_all_new(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.root / "environments" / "other.txt").write_text("")
    project.git("add", "environments/other.txt")
    project.git("commit", "-q", "-m", "before the environment")
    assert [change["action"] for change in planned(capsys, "--against", "HEAD")["changes"]] == ["create"]


def test_a_prompt_is_compared_by_its_text_at_each_revision_and_the_work_tree_is_left_alone(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = project.root / "environments" / "system.txt"
    prompt.write_text("Be brief.")
    project.declare("chat", model="mlflow:chat-llm/7", prompts={"system": "file:environments/system.txt"})
    first = project.commit()
    prompt.write_text("Be kind.")
    plan = planned(capsys, "--against", first)
    assert [(c["action"], [f["path"] for f in c["fields"]]) for c in plan["changes"]] == [
        ("rollout", ["prompts.system"])
    ]
    assert prompt.read_text() == "Be kind."
    assert project.git("status", "--porcelain", "-uno").strip() == "M environments/system.txt"


def test_what_git_does_not_keep_is_the_same_at_both_revisions(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.root / "kept-elsewhere.txt").write_text("Be brief.")
    project.declare("chat", model="mlflow:chat-llm/7", prompts={"system": "file:kept-elsewhere.txt"})
    project.commit()
    assert [change["action"] for change in planned(capsys, "--against", "HEAD")["changes"]] == ["none"]


def test_policies_are_asked_and_deny_what_states_no_context_length(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.commit()
    project.declare("chat", model="mlflow:chat-llm/8")
    project.spec["policies"] = {"REL-003": "deny"}
    project.write()
    findings = planned(capsys, "--against", "HEAD", code=3)["findings"]
    assert ("REL-003", "deny") in {(finding["policy"], finding["level"]) for finding in findings}


@pytest.mark.parametrize("ref", ["no-such-branch", "--upload-pack=x", "HEAD:environments"])
def test_a_revision_that_is_not_there_is_refused(
    project: Project, capsys: pytest.CaptureFixture[str], ref: str
) -> None:
    project.commit()
    assert run(["plan", "dev", f"--against={ref}"]) == 1
    said = capsys.readouterr().err
    assert "PLAN-009" in said
    assert ref in said


def test_an_earlier_file_that_is_refused_today_is_named(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.spec["endpoints"]["chat"]["teem"] = "t"
    project.write()
    project.commit()
    del project.spec["endpoints"]["chat"]["teem"]
    project.write()
    assert run(["plan", "dev", "--against", "HEAD"]) == 1
    said = capsys.readouterr().err
    assert "PLAN-009" in said
    assert "teem" in said


def test_such_a_plan_is_saved_for_reading_and_never_applied(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.commit()
    project.declare("chat", model="mlflow:chat-llm/8")
    planned(capsys, "--against", "HEAD", "-o", "plan.json")
    assert run(["apply", "plan.json", "--yes"]) == 1
    assert "PLAN-007" in capsys.readouterr().err


@pytest.mark.parametrize("others", [("--recorded",), ("--refresh-only",)])
def test_a_plan_compares_with_one_thing(
    project: Project, capsys: pytest.CaptureFixture[str], others: tuple[str, ...]
) -> None:
    assert run(["plan", "dev", "--against", "HEAD", *others]) == 1
    assert "CLI-002" in capsys.readouterr().err


async def recorded(declared: Declared) -> Plan:
    return await plan_recorded(declared.planner(), Scope(), now=declared.bench.now)


async def test_what_was_recorded_is_compared_and_no_region_is_asked(tmp_path: Path) -> None:
    declared = Declared(LoopWorld(tmp_path))
    declared.serve("chat", "v1")
    declared.serve("search", "v1")
    await declared.apply()
    assert {change.action for change in (await recorded(declared)).changes} == {Action.NONE}
    declared.serve("chat", "v2")
    live, plan = await declared.plan(), await recorded(declared)
    assert [(c.address, c.action, c.release) for c in plan.changes] == [
        (c.address, c.action, c.release) for c in live.changes
    ]
    assert plan.compared_with == RECORDED
    assert plan_to_json(plan)["digest"] is None


async def test_an_environment_without_a_past_is_all_new(tmp_path: Path) -> None:
    declared = Declared(LoopWorld(tmp_path))
    declared.serve("chat", "v1")
    assert {change.action for change in (await recorded(declared)).changes} == {Action.CREATE}


async def test_a_recorded_release_that_nobody_remembers_is_no_guess(tmp_path: Path) -> None:
    declared = Declared(LoopWorld(tmp_path))
    declared.serve("chat", "v1")
    await declared.apply()
    facts = (await recall(declared.bench.store, ENVIRONMENT)).facts
    with pytest.raises(SluiceError) as refused:
        as_recorded(facts, {})
    assert refused.value.code == "PLAN-008"
