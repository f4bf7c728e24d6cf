"""`sluice policy test`: cases of the shipped policies pass, a wrong one fails, and one that could not is refused."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.case import CaseSpec, case_file_of, run_case
from policies.catalog import CATALOG
from reconciler.cli.main import run
from reconciler.cli.policy_test import _plain
from tests.unit.policies.fixtures import ROOT, shipped
from tests.unit.policies.test_plans import CASES

FOLDER = ROOT / "policies" / "cases"
FILES = {path.name: case_file_of(_plain(path, path.name), path.name) for path in sorted(FOLDER.glob("*.cases.yaml"))}
PROD = shipped("prod")


def every() -> Iterator[Any]:
    for name, file in FILES.items():
        yield from (pytest.param(name, case, id=f"{name}-{case.name}".replace(" ", "-")) for case in file.cases)


@pytest.mark.parametrize(("file", "case"), every())
def test_a_shipped_case(file: str, case: CaseSpec) -> None:
    outcome = run_case(case, PROD, now=FILES[file].now, where=file)
    assert (outcome.lacking, outcome.extra) == ((), ())


def test_every_plan_policy_has_a_violating_and_a_clean_case() -> None:
    cases = [case for file in FILES.values() for case in file.cases]
    violating = {each.policy for case in cases for each in case.expect} | {case.policy for case in CASES}
    clean = {policy for case in cases for policy in case.policies if policy not in {e.policy for e in case.expect}}
    by_the_files = {policy.id for policy in CATALOG if not getattr(policy.rule, "needs", False)}  # test_shipped_…_pass
    wanted = {policy.id for policy in CATALOG if policy.subject == "plan"}
    assert wanted - violating == set()
    assert wanted - clean - by_the_files == set()
    assert len(wanted) >= 35


class Project:
    """A folder with an environment and cases."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys
        for folder in ("environments", "policies"):
            (root / folder).mkdir()
        for name in ("evals", "guardrails"):
            (root / "environments" / name).symlink_to(ROOT / "environments" / name)
        (root / "loadtests").symlink_to(ROOT / "loadtests")
        (root / "environments" / "prod.yaml").write_text((ROOT / "environments" / "prod.yaml").read_text())

    def cases(self, *cases: dict[str, Any], **more: Any) -> Path:
        file = self.root / "policies" / "mine.cases.yaml"
        file.write_text(json.dumps({"environment": "../environments/prod.yaml", "cases": list(cases)} | more))
        return file

    def test(self, *words: str, code: int) -> tuple[str, str]:
        self._capsys.readouterr()
        assert run(["policy", "test", *words]) == code, self._capsys.readouterr()
        shown = self._capsys.readouterr()
        return shown.out, shown.err


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("SLUICE_ENVIRONMENTS", raising=False)
    monkeypatch.setenv("SLUICE_FILE_ROOTS", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


SHORT: dict[str, Any] = {
    "name": "a short bake",
    "edits": {"endpoints.chat.rollout.bake_s": 60},
    "changes": ["chat"],
    "expect": [{"policy": "ROL-004", "level": "deny", "says": "bake_s is 60"}],
}


def test_a_good_case_passes(project: Project) -> None:
    project.cases(SHORT)
    assert project.test(code=0)[0] == "ok    policies/mine.cases.yaml: a short bake\n1 case(s), 0 failed\n"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"expect": [{"policy": "ROL-004", "level": "warn"}]}, "did not come: ROL-004 warn"),
        ({"expect": [{"policy": "ROL-004", "says": "3600"}]}, 'did not come: ROL-004 saying "3600"'),
        ({"expect": [{"policy": "ROL-004", "address": "prod"}]}, "did not come: ROL-004 prod"),
        ({"expect": ["ROL-004", "ROL-004"]}, "did not come: ROL-004"),
        ({"expect": [], "policies": ["ROL-004"]}, "nobody expected it: ROL-004 deny prod/*/chat: bake_s is 60"),
        ({"edits": {}}, "did not come: ROL-004"),
        ({"changes": ["code"]}, "did not come: ROL-004"),
    ],
)
def test_a_wrong_case_fails(project: Project, changed: dict[str, Any], says: str) -> None:
    project.cases(SHORT | changed)
    junit = project.root / "out.xml"
    out, _ = project.test("--junit", str(junit), code=1)
    assert out.startswith("FAIL  policies/mine.cases.yaml: a short bake\n")
    assert says in out
    assert out.endswith("1 case(s), 1 failed\n")
    (failure,) = ET.parse(junit).iter("failure")
    assert says in (failure.get("message") or "")


def test_json_has_every_case(project: Project) -> None:
    project.cases(SHORT, SHORT | {"name": "other", "expect": ["ROL-005"]})
    cases = json.loads(project.test("--json", code=1)[0])["cases"]
    assert [(c["name"], c["good"]) for c in cases] == [("a short bake", True), ("other", False)]


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ({"expect": []}, "POL-009", "such a case cannot fail"),
        ({"expect": [], "policies": ["PRO-001"]}, "POL-009", "is not asked without facts"),
        ({"expect": ["ROL-044"]}, "POL-002", 'nearest: "ROL-004"'),
        ({"expects": []}, "POL-009", "cases[0].expects"),
        ({"edits": {"endpoints.nobody.team": "x"}}, "POL-009", "there is nothing at endpoints.nobody.team"),
        ({"edits": {"endpoints.chat.team": 3}}, "POL-009", "endpoints.chat.team"),
        ({"facts": {"approvals": [{"key": 1}]}}, "POL-009", "facts.approvals[0].key"),
        ({"now": "yesterday"}, "POL-009", "not a point in time"),
        ({"environment": "../environments/gone.yaml"}, "SPEC-002", "gone.yaml"),
    ],
)
def test_a_malformed_case_is_refused(project: Project, changed: dict[str, Any], code: str, says: str) -> None:
    project.cases(SHORT | changed)
    _, err = project.test(code=1)
    assert err.startswith(code)
    assert says in err


def test_nothing_to_test_is_an_error(project: Project) -> None:
    _, err = project.test(code=1)
    assert err.startswith("POL-010")
    (project.root / "policies" / "empty.cases.yaml").write_text("")
    assert project.test(code=1)[1].startswith("POL-009")
    (project.root / "policies" / "empty.cases.yaml").write_text("a: [")
    assert project.test(code=1)[1].startswith("SPEC-")


def test_files_and_folders_may_be_named(project: Project) -> None:
    file = project.cases(SHORT)
    elsewhere = project.root / "x" / "other.cases.yaml"
    elsewhere.parent.mkdir()
    elsewhere.write_text(file.read_text())
    file.unlink()
    assert "1 case(s), 0 failed" in project.test("x", code=0)[0]
    assert "1 case(s), 0 failed" in project.test("x/other.cases.yaml", code=0)[0]
