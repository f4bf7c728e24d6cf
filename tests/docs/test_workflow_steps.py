"""The steps that apply what was merged, run as they stand in the pipelines, against stand-ins of both hosts."""

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

from tests.docs.test_workflows import SHA, GitHub, github, workflow
from tests.support.builders.signing import Person
from tests.support.processes import ROOT
from tests.support.reviewed import Project, project, projects
from tests.support.servers.http_stub import Answer, Asked, http_stub

__all__ = ["github", "project", "projects"]
STOPPED = 4
"""How an apply ends here: it begins, and no server starts, for its program is not there."""


@pytest.fixture
def ann(tmp_path: Path) -> Person:
    return Person("ann", tmp_path)


@pytest.fixture
def reviewed(project: Project, ann: Person) -> Project:
    """Return a project that asks for ann's approval, with what a runner finds in a checkout beside it."""
    project.declare(approvals={"needed": 1, "keys": [ann.listed("ann-gh")]})
    (project.folder / ".ci").mkdir()
    (project.folder / ".ci" / "comment").symlink_to(ROOT / ".ci" / "comment")
    programs = project.folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "sluice").write_text(f'#!/bin/sh\nexec {sys.executable} -m reconciler.cli.main "$@"\n')
    (programs / "sluice").chmod(0o755)
    project.call("plan", "dev", "-o", "plan.json")
    return project


def shown(project: Project) -> str:
    """Return the comment of the plan, as the job that plans writes it."""
    return project.call("plan", "dev", "--markdown")


def signed(project: Project, person: Person) -> str:
    project.call("approve", "plan.json", "--key", str(person.path))
    text = Path("plan.json.approvals").read_text()
    Path("plan.json").unlink()
    Path("plan.json.approvals").unlink()
    return text


def kinds(project: Project) -> list[str]:
    return [each["kind"] for each in json.loads(project.call("history", "dev", "--json"))]


def bash(project: Project, script: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script as a runner of either host does: it ends at the first command that fails."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    known = {**inherited, "PYTHONPATH": str(ROOT), "SLUICE_HOME": str(project.home), "CI": "true", **environ}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=project.folder, env=known, capture_output=True, text=True, timeout=300, check=False
    )


def applied(project: Project, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the steps of apply.yml from the comments to the apply, with what one tells the next."""
    told = project.folder / "github.env"
    told.touch()
    steps = [step for step in workflow("apply")["jobs"]["apply"]["steps"] if "run" in step]
    steps = [step for step in steps if step.get("name") not in (None, "report")]
    assert [step["name"] for step in steps][-1] == "apply"
    found = subprocess.CompletedProcess[str]([], 0)
    for step in steps:
        said = dict(line.split("=", 1) for line in told.read_text().splitlines())
        known = {"GITHUB_ENV": str(told), "GITHUB_SHA": SHA, "ENVIRONMENT": "dev", **environ, **said}
        found = bash(project, step["run"], known)
        if found.returncode:
            break
    return found


def test_a_signed_line_in_a_comment_is_an_approval(
    reviewed: Project, github: tuple[GitHub, dict[str, str]], ann: Person
) -> None:
    hub, environ = github
    hub.add(shown(reviewed))
    hub.add(f"Looked at it.\r\n\r\n{signed(reviewed, ann)}", "ann-gh")
    found = applied(reviewed, environ)
    assert found.returncode == STOPPED, found.stdout + found.stderr
    assert "approved" in kinds(reviewed)


def test_nobody_can_stop_or_pass_it_with_a_comment(
    reviewed: Project, github: tuple[GitHub, dict[str, str]], tmp_path: Path, ann: Person
) -> None:
    hub, environ = github
    hub.add(shown(reviewed))
    line = signed(reviewed, ann)
    forged = json.loads(line)
    forged["signatures"][0]["sig"] = "AAAA"
    hub.add(json.dumps(forged), "mallory")
    hub.add('{"payloadType": [[[', "mallory")
    found = applied(reviewed, environ)
    assert "APPR-001" in found.stderr, "a forged line is nobody's approval"
    assert "approved" not in kinds(reviewed)
    hub.add(line, "anybody-may-carry-it")
    assert applied(reviewed, environ).returncode == STOPPED
    assert "approved" in kinds(reviewed)


def test_who_committed_to_the_change_does_not_approve_it(
    reviewed: Project, github: tuple[GitHub, dict[str, str]], ann: Person
) -> None:
    hub, environ = github
    hub.commits.append({"commit": {"author": {"email": "ann@us.example"}}, "author": {"login": "ann-gh"}})
    hub.add(shown(reviewed))
    hub.add(signed(reviewed, ann), "ann-gh")
    assert "APPR-006" in applied(reviewed, environ).stderr
    assert "approved" not in kinds(reviewed)


def test_what_changed_after_the_review_is_not_applied(
    reviewed: Project, github: tuple[GitHub, dict[str, str]], ann: Person
) -> None:
    hub, environ = github
    hub.add(shown(reviewed))
    hub.add(signed(reviewed, ann), "ann-gh")
    reviewed.declare(owner="others")
    found = applied(reviewed, environ)
    assert "PLAN-003" in found.stderr
    assert "approved" not in kinds(reviewed)


class GitLab:
    """What a job of GitLab asks after a merge: the merge request, its commits and its notes, page by page."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.emails = ["cy@us.example"]

    def answer(self, request: Asked) -> Answer:
        if request.headers.get("private-token") != "t0ken":
            return 401, {"message": "401 Unauthorized"}
        size, page = int(request.query["per_page"]), int(request.query["page"])
        part = slice((page - 1) * size, page * size)
        match request.path.removeprefix("/projects/3/"):
            case path if path == f"repository/commits/{SHA}/merge_requests":
                return 200, [{"iid": 6, "state": "closed"}, {"iid": 7, "state": "merged"}][part]
            case "merge_requests/7":
                return 200, {"iid": 7, "author": {"username": "cy"}}
            case "merge_requests/7/commits":
                return 200, [{"author_email": each} for each in self.emails][part]
            case "merge_requests/7/notes":
                return 200, [{"body": each} for each in self.notes][part]
            case _:
                return 404, {"message": "404 Not found"}


@pytest.fixture
def gitlab() -> Iterator[tuple[GitLab, dict[str, str]]]:
    hub = GitLab()
    with http_stub(hub.answer) as url:
        named = {"CI_API_V4_URL": url, "CI_PROJECT_ID": "3", "CI_COMMIT_SHA": SHA, "COMMENT_TOKEN": "t0ken"}
        yield hub, named | {"AWS_TOKEN": "t", "ROLE": "arn:aws:iam::1:role/r", "CI_JOB_ID": "1"}


def applied_by_gitlab(project: Project, environ: dict[str, str], digest: str) -> subprocess.CompletedProcess[str]:
    job: Any = yaml.safe_load((ROOT / "examples" / "gitlab-ci.yml").read_text())["apply"]
    script = re.sub(r"\bprod\b", "dev", "\n".join(job["script"]))
    return bash(project, script, {**environ, "DIGEST": digest})


def test_gitlab_takes_signed_lines_out_of_notes(
    reviewed: Project, gitlab: tuple[GitLab, dict[str, str]], ann: Person
) -> None:
    hub, environ = gitlab
    digest = json.loads(Path("plan.json").read_text())["digest"]
    hub.notes = [f"words {number}" for number in range(150)]
    missing = applied_by_gitlab(reviewed, environ, digest)
    assert "APPR-001" in missing.stderr, missing.stdout + missing.stderr
    hub.notes.append(f"fine\n{signed(reviewed, ann)}")
    found = applied_by_gitlab(reviewed, environ, digest)
    assert found.returncode == STOPPED, found.stdout + found.stderr
    assert "approved" in kinds(reviewed)


def test_gitlab_counts_no_author_and_stops_where_it_is_refused(
    reviewed: Project, gitlab: tuple[GitLab, dict[str, str]], ann: Person
) -> None:
    hub, environ = gitlab
    reviewed.declare(approvals={"needed": 1, "keys": [ann.listed("ann@us.example")]})
    reviewed.call("plan", "dev", "-o", "plan.json")
    digest = json.loads(Path("plan.json").read_text())["digest"]
    hub.notes, hub.emails = [signed(reviewed, ann)], [*(f"{n}@us.example" for n in range(120)), "ann@us.example"]
    assert "APPR-006" in applied_by_gitlab(reviewed, environ, digest).stderr
    refused = applied_by_gitlab(reviewed, environ | {"COMMENT_TOKEN": "wrong"}, digest)
    assert (refused.returncode != 0, "401" in refused.stderr) == (True, True)
    assert "approved" not in kinds(reviewed)
