"""A repository of one's own: what is written, and what a newer version may touch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from environments.errors import SluiceError
from environments.load import load
from policies.catalog import known_ids
from policies.plans import check_spec
from reconciler.operations.new_repository import begin as module
from reconciler.operations.new_repository.begin import RECORD, State, begin, compare, upgrade
from reconciler.operations.new_repository.files import PROJECTS, Answers, rendered

FIRST = Answers("1.0", "ml-platform")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    begin(folder, FIRST)
    return folder


def states(folder: Path, version: str = "2.0") -> dict[str, State]:
    return {each.path: each.state for each in compare(folder, version)[1] if each.state is not State.SAME}


@pytest.mark.parametrize("name", ["dev", "local"])
def test_its_environments_load_and_no_policy_denies_them(repository: Path, name: str) -> None:
    environ = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    loaded = load(repository / f"environments/{name}.yaml", environ=environ, policy_ids=known_ids())
    assert [f for f in check_spec(loaded.spec) if f.level == "deny"] == []


def test_its_projects_import_the_installed_stacks_and_nothing_of_this_repository(repository: Path) -> None:
    for project in PROJECTS:
        text = (repository / f"stacks/{project}/__main__.py").read_text()
        assert f"from sluice.stacks.{project}.program import main" in text
        told = yaml.safe_load((repository / f"stacks/{project}/Pulumi.yaml").read_text())
        assert told["name"] == f"sluice-{project}"
    assert "sluice[" in (repository / "requirements.txt").read_text()
    assert "==1.0" in (repository / "requirements.txt").read_text()


def test_no_word_of_a_template_is_left(repository: Path) -> None:
    for file in (p for p in repository.rglob("*") if p.is_file()):
        assert not {"@VERSION@", "@OWNER@", "@PACKAGE@", "@PROJECT@"} & set(file.read_text().split()), file
        assert "@PACKAGE@" not in file.read_text()


def test_a_file_that_is_there_is_not_overwritten_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("mine\n")
    with pytest.raises(SluiceError, match="INIT-001"):
        begin(tmp_path, FIRST)
    assert [p.name for p in tmp_path.iterdir()] == ["Makefile"]
    assert (tmp_path / "Makefile").read_text() == "mine\n"


def test_the_same_version_differs_in_nothing(repository: Path) -> None:
    assert states(repository, "1.0") == {}


def test_a_newer_version_writes_what_nobody_touched(repository: Path) -> None:
    assert states(repository) == {"README.md": State.NEWER, "requirements.txt": State.NEWER}
    answers, found = compare(repository, "2.0")
    assert upgrade(repository, answers, found) == ["README.md", "requirements.txt"]
    assert "==2.0" in (repository / "requirements.txt").read_text()
    assert states(repository) == {}


def test_what_somebody_changed_or_deleted_stays_so(repository: Path) -> None:
    (repository / "requirements.txt").write_text("sluice==1.0\nours\n")
    (repository / "Makefile").write_text("mine\n")
    (repository / ".gitlab-ci.yml").unlink()
    assert states(repository) == {
        ".gitlab-ci.yml": State.YOURS,
        "Makefile": State.YOURS,
        "README.md": State.NEWER,
        "requirements.txt": State.BOTH,
    }
    answers, found = compare(repository, "2.0")
    assert upgrade(repository, answers, found) == ["README.md"]
    assert (repository / "requirements.txt").read_text() == "sluice==1.0\nours\n"
    assert not (repository / ".gitlab-ci.yml").exists()


def test_a_file_that_is_newly_shipped_is_new_and_one_no_longer_shipped_is_left(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = rendered(Answers("2.0", "ml-platform"))
    del shipped["Makefile"]
    monkeypatch.setattr(module, "rendered", lambda answers: shipped | {"docs/notes.md": "notes\n"})
    found = states(repository)
    assert found["docs/notes.md"] is State.NEW
    assert found["Makefile"] is State.LEFT
    upgrade(repository, *compare(repository, "2.0"))
    assert (repository / "docs/notes.md").read_text() == "notes\n"
    assert (repository / "Makefile").exists()


@pytest.mark.parametrize("record", ["", "{", "[]", '{"format": 99}', '{"format": 1}'])
def test_a_record_that_cannot_be_read_is_said(repository: Path, record: str) -> None:
    (repository / RECORD).write_text(record)
    with pytest.raises(SluiceError, match="INIT-002"):
        compare(repository, "2.0")


def test_the_record_is_of_this_version_and_names_the_package(repository: Path) -> None:
    told = json.loads((repository / RECORD).read_text())
    assert (told["version"], told["package"], told["owner"]) == ("1.0", "sluice", "ml-platform")
