"""The same change gives the same plan wherever it is made: in folders of other names, with a cache and without one."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders.signing import Person
from tests.support.reviewed import Make, Project


def plan(project: Project, *options: str) -> tuple[str, dict[str, Any]]:
    """Return the saved plan's text without the time at which it was made, and the plan."""
    project.environ.chdir(project.folder)
    project.environ.setenv("SLUICE_HOME", str(project.home))
    project.call("plan", "dev", "-o", "plan.json", *options)
    data = json.loads(Path("plan.json").read_text())
    created = data.pop("created_at")
    text = Path("plan.json").read_text().replace(created, "THEN")
    return text, data


def filled(project: Project) -> Project:
    """Declare whatever a plan can hold of files: prompts, guardrails, an index, pools and prices."""
    (project.folder / "models" / "prompt.txt").write_text("be brief")
    (project.folder / "models" / "rules.yaml").write_text("rules: []")
    endpoint = project.spec["endpoints"]["chat"]
    endpoint["release"] |= {
        "prompts": {"system": "file:models/prompt.txt"},
        "guardrails": {"ref": "file:models/rules.yaml"},
        "engine": {"max_model_len": 2048},
    }
    project.declare()
    return project


def test_two_checkouts_of_other_names_plan_the_same_bytes(projects: Make) -> None:
    one, other = filled(projects("one")), filled(projects("a much longer name, with ü and spaces"))
    (text, data), (same, _) = plan(one), plan(other)
    assert text == same
    assert data["digest"].startswith("sha256:")
    for folder in (one.folder, other.folder):
        assert str(folder) not in text
        assert folder.name not in text or folder.name == "one"


def test_a_cache_changes_nothing(projects: Make) -> None:
    project = filled(projects("one"))
    # What was written just now is not cached, as it may change again within a tick of the file system's clock.
    project.environ.setattr("reconciler.registries.digests._SETTLED_NS", -1)
    first, _ = plan(project)
    assert (project.home / "cache").exists(), "the digests of files are cached"
    assert plan(project)[0] == first, "with the cache"
    shutil.rmtree(project.home)
    assert plan(project)[0] == first, "without"


def test_when_a_file_was_written_and_in_which_order_changes_nothing(projects: Make) -> None:
    one, other = filled(projects("one")), filled(projects("two"))
    for path in sorted((other.folder / "models").rglob("*"), reverse=True):
        os.utime(path, (time.time() - 1e6, time.time() - 1e6))
    assert plan(one)[0] == plan(other)[0]


def test_who_looks_and_where_changes_nothing(projects: Make, tmp_path: Path) -> None:
    project = filled(projects("one"))
    _, first = plan(project)
    for name, value in {"TZ": "Asia/Tokyo", "LC_ALL": "C", "USER": "somebody", "COLUMNS": "40", "CI": "1"}.items():
        project.environ.setenv(name, value)
    project.environ.setenv("SLUICE_AUTHOR", "ann")
    _, second = plan(project)
    assert second.pop("author") == "ann"
    assert second == first, "who made it stands beside the digest, not in it"
    deep = project.folder / "deep" / "down"
    deep.mkdir(parents=True)
    project.environ.chdir(deep)
    project.call("plan", "dev", "-o", "plan.json")
    assert json.loads(Path("plan.json").read_text())["digest"] == first["digest"]


def test_what_was_approved_in_one_checkout_is_applied_in_another(projects: Make, tmp_path: Path) -> None:
    ann = Person("ann", tmp_path)
    listed = {"needed": 1, "keys": [ann.listed()]}
    one, other = filled(projects("one")), filled(projects("two"))
    for project in (one, other):
        project.declare(approvals=listed)
    _, data = plan(one)
    one.call("approve", "plan.json", "--key", str(ann.path))
    plan(other)
    for name in ("plan.json", "plan.json.approvals"):
        shutil.copy(one.folder / name, other.folder / name)
    told = json.loads(other.call("apply", "plan.json", "--json", code=4))
    assert told["digest"] == data["digest"]
    assert "PLAT-008" in told["outcomes"][0]["reason"], "it was carried out as far as it goes without a server"
    entries = json.loads(other.call("history", "dev", "--json"))
    assert [e["kind"] for e in entries if e["kind"] != "guard"][-2:] == ["begin", "approved"]


@pytest.mark.parametrize("folder", ["one", "two"])
def test_an_absolute_path_to_a_model_is_the_authors_own_word(projects: Make, folder: str, tmp_path: Path) -> None:
    """A path that is written absolutely is part of the file, so it stands in the plan as it is written."""
    project = filled(projects(folder))
    shared = tmp_path / "shared"
    shutil.copytree(project.folder / "models" / "v1", shared)
    project.spec["endpoints"]["chat"]["release"]["model"] = f"file:{shared}"
    project.declare()
    text, _ = plan(project)
    assert text.count(str(project.folder)) == 0
    assert str(shared) in text
