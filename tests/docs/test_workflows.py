"""The workflows of pull requests: what they may, what they never run, and their steps against a stand-in of GitHub."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.output.plan_markdown import COMMENT_MAX, Reviewed, plan_markdown
from tests.golden.test_cli_plans import PLANS, spec
from tests.support.processes import ROOT
from tests.support.servers.http_stub import Answer, Asked, http_stub

FOLDER = ROOT / ".github" / "workflows"
NAMES = ("apply", "drift", "plan", "review")
BOT = "github-actions[bot]"
SHA = "c" * 40


def workflow(name: str) -> Any:
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text())


def steps(name: str) -> list[Any]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_gets_the_least_and_runs_no_text_of_strangers(name: str) -> None:
    found = workflow(name)
    events = found[True]  # YAML reads the key `on` so
    assert "pull_request_target" not in events, "it would give a fork our secrets"
    assert found["permissions"]["contents"] == "read"
    for job in found["jobs"].values():
        assert job.get("permissions", {}).get("contents", "read") == "read"
        for step in job["steps"]:
            assert "${{ github.event" not in step.get("run", ""), "a title or a branch's name would be run"
            assert re.fullmatch(r"[\w\-]+/[\w\-]+(/[\w\-]+)?@v\d+", step.get("uses", "a/b@v1"))


def test_a_fork_gets_no_role_and_no_write() -> None:
    [job] = workflow("plan")["jobs"].values()
    assert "head.repo.full_name == github.repository" in job["if"]
    text = (FOLDER / "review.yml").read_text()
    assert "--against" in text
    for secret in ("secrets.", "id-token", "pull-requests"):
        assert secret not in text


def test_only_what_was_reviewed_is_applied() -> None:
    runs = [step.get("run", "") for step in steps("apply")]
    assert any('sluice apply plan.json --approve "$DIGEST"' in run for run in runs)
    assert not any("--yes" in run for run in runs)
    assert list(workflow("apply")[True]) == ["push"]


class GitHub:
    """Comments of pull requests as GitHub keeps them; refuses what GitHub refuses."""

    def __init__(self) -> None:
        self.comments: list[dict[str, Any]] = []
        self.pulls: list[dict[str, Any]] = [
            {"number": 7, "merged_at": "2026-11-30T10:00:00Z", "user": {"login": "cy-gh"}}
        ]
        self.commits = [{"commit": {"author": {"email": "cy@us.example"}}, "author": {"login": "cy-gh"}}]
        self.asked: list[str] = []

    def add(self, body: str, login: str = BOT) -> dict[str, Any]:
        self.comments.append({"id": 100 + len(self.comments), "user": {"login": login}, "body": body})
        return self.comments[-1]

    def answer(self, request: Asked) -> Answer:
        self.asked.append(request.method)
        if request.headers.get("authorization") != "Bearer t0ken":
            return 401, {"message": "Bad credentials"}
        body = json.loads(request.body)["body"] if request.body else ""
        if len(body) > 65_536:
            return 422, {"message": "Validation Failed", "errors": ["body is too long (maximum is 65536 characters)"]}
        match request.method, request.path.removeprefix("/repos/us/models"):
            case "GET", "/issues/7/comments":
                size, page = int(request.query["per_page"]), int(request.query["page"])
                return 200, self.comments[(page - 1) * size : page * size]
            case "POST", "/issues/7/comments":
                return 201, self.add(body)
            case "PATCH", path if path.startswith("/issues/comments/"):
                found = next((c for c in self.comments if str(c["id"]) == path.rpartition("/")[2]), None)
                if found is None:
                    return 404, {"message": "Not Found"}
                if found["user"]["login"] != BOT:
                    return 403, {"message": "Resource not accessible by integration"}
                found["body"] = body
                return 200, found
            case "GET", path if path == f"/commits/{SHA}/pulls":
                return 200, self.pulls
            case "GET", "/pulls/7/commits":
                return 200, self.commits
            case _:
                return 404, {"message": "Not Found"}


@pytest.fixture
def github() -> Iterator[tuple[GitHub, dict[str, str]]]:
    hub = GitHub()
    with http_stub(hub.answer) as url:
        named = {"GITHUB_API_URL": url, "GITHUB_REPOSITORY": "us/models", "GITHUB_TOKEN": "t0ken"}
        yield hub, {"PATH": os.environ["PATH"], **named}


def comment(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci" / "comment"), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)


def page(tmp_path: Path, name: str = "rollout") -> Path:
    path = tmp_path / f"{name}.md"
    path.write_text(plan_markdown(Reviewed(PLANS[name], spec())))
    return path


def test_the_comment_updates_itself(github: tuple[GitHub, dict[str, str]], tmp_path: Path) -> None:
    hub, environ = github
    for number in range(150):
        hub.add(f"words {number}", "somebody")
    stranger = hub.add(page(tmp_path).read_text(), "somebody")
    assert comment(environ, "write", "7", str(page(tmp_path))).returncode == 0
    assert comment(environ, "write", "7", str(page(tmp_path, "nothing"))).returncode == 0
    ours = [c for c in hub.comments if c["user"]["login"] == BOT]
    assert [c["body"] for c in ours] == [page(tmp_path, "nothing").read_text()], "one comment, the newest plan"
    assert stranger["body"] == page(tmp_path).read_text()
    assert hub.asked.count("POST") == 1


def test_the_digest_is_the_one_in_our_comment_of_what_was_merged(
    github: tuple[GitHub, dict[str, str]], tmp_path: Path
) -> None:
    hub, environ = github
    forged = page(tmp_path).read_text().replace(PLANS["rollout"].digest, "sha256:" + "0" * 64)
    hub.add(forged, "somebody")
    assert "nothing was reviewed" in comment(environ, "digest", SHA, "test").stderr
    hub.add(page(tmp_path).read_text())
    found = comment(environ, "digest", SHA, "test")
    assert (found.returncode, found.stdout.strip()) == (0, PLANS["rollout"].digest)
    assert comment(environ, "digest", SHA, "prod").returncode != 0, "another environment's"
    hub.pulls[0]["merged_at"] = ""
    assert comment(environ, "digest", SHA, "test").returncode != 0, "not merged"


def test_a_plan_of_no_live_state_has_no_digest_to_apply(github: tuple[GitHub, dict[str, str]], tmp_path: Path) -> None:
    from dataclasses import replace

    hub, environ = github
    hub.add(plan_markdown(Reviewed(replace(PLANS["rollout"], compared_with="main"), spec())))
    assert "nothing was reviewed" in comment(environ, "digest", SHA, "test").stderr


def test_what_github_refuses_is_told(github: tuple[GitHub, dict[str, str]], tmp_path: Path) -> None:
    _, environ = github
    long = tmp_path / "long.md"
    long.write_text("<!-- sluice:plan:test -->\n" + "x" * COMMENT_MAX)
    assert "body is too long" in comment(environ, "write", "7", str(long)).stderr
    assert "404" in comment(environ, "write", "8", str(page(tmp_path))).stderr
    refused = comment(environ | {"GITHUB_TOKEN": "wrong"}, "write", "7", str(page(tmp_path)))
    assert "401" in refused.stderr
    assert "wrong" not in refused.stderr
    long.write_text("hello")
    assert "no marker" in comment(environ, "write", "7", str(long)).stderr
    assert comment(environ, "write", "7").returncode != 0


def test_everybody_whose_change_it_is_is_named(github: tuple[GitHub, dict[str, str]]) -> None:
    hub, environ = github
    hub.commits += [
        {"commit": {"author": {"email": "bob@us.example"}}, "author": {"login": "bob-gh"}},
        {"commit": {"author": {"email": "a,n@other.example"}}, "author": None},
    ]
    assert comment(environ, "authors", SHA).stdout == "cy-gh,bob-gh,a n@other.example\n"
    hub.pulls = []
    assert "nobody knows" in comment(environ, "authors", SHA).stderr


def run_lines(node: Any) -> Iterator[str]:
    """Yield every line of shell in a pipeline of either host."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("run", "script"):
                yield from (
                    line for each in ([value] if isinstance(value, str) else value) for line in each.split("\n")
                )
            else:
                yield from run_lines(value)
    elif isinstance(node, list):
        for each in node:
            yield from run_lines(each)


@pytest.mark.parametrize("path", [*(FOLDER / f"{n}.yml" for n in NAMES), ROOT / "examples" / "gitlab-ci.yml"])
def test_every_command_and_option_is_sluices(path: Path) -> None:
    import click

    from reconciler.cli.main import cli

    lines = list(run_lines(yaml.safe_load(path.read_text())))
    called = [m[1] for line in lines for m in re.finditer(r"\.venv/bin/sluice ([^|>&]*)", line)]
    assert called
    for words in (text.split() for text in called):
        found: Any = cli
        while isinstance(found, click.Group):
            found = found.get_command(click.Context(found), words.pop(0))
            assert found is not None, words
        known = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("path", [*(FOLDER / f"{n}.yml" for n in NAMES), ROOT / "examples" / "gitlab-ci.yml"])
def test_the_shell_of_every_step_parses(path: Path) -> None:
    script = "\n".join(re.sub(r"\$\{\{.*?\}\}", "x", line) for line in run_lines(yaml.safe_load(path.read_text())))
    found = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr
