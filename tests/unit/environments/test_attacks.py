"""What a pull request may try with an environment file: read variables and files, and send credentials away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from environments.errors import SluiceError, SpecError
from environments.files import readable_file
from environments.load import Loaded, load
from environments.trust import trust_of
from tests.unit.environments.loading import BASE, load_text, problems_of

STORE, MLFLOW = "sqlite:///.sluice/base.db", "http://mlflow:5000"
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "aws-hunter2",
    "GITHUB_TOKEN": "github-hunter2",
    "MLFLOW_TRACKING_TOKEN": "mlflow-hunter2",
    "SLUICE_CONTROLLER_TOKEN": "controller-hunter2",
    "SLUICE_STORE": "postgresql://sluice:store-hunter2@db/sluice",
    "SLUICE_HOST": "mlflow.example.com",
}


def loaded(tmp_path: Path, old: str, new: str, **environ: str) -> Loaded:
    load_text(BASE, tmp_path)
    path = tmp_path / "environments" / "base.yaml"
    assert old in BASE
    path.write_text(BASE.replace(old, new, 1))
    return load(path, environ={**SECRETS, **environ})


def refused(tmp_path: Path, old: str, new: str, **environ: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, old, new, **environ)
    assert "hunter2" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PATH", "SLUICE_CONTROLLER_TOKEN"])
@pytest.mark.parametrize("place", [STORE, MLFLOW])
def test_a_variable_that_was_not_allowed_outside_the_file_is_not_read(tmp_path: Path, place: str, name: str) -> None:
    error = refused(tmp_path, place, f"${{env:{name}}}")
    assert [p.code for p in error.problems] == ["SPEC-046"]
    assert name in error.problem.what


def test_the_store_with_its_password_is_read_as_the_store_alone(tmp_path: Path) -> None:
    assert refused(tmp_path, MLFLOW, "${env:SLUICE_STORE}").code == "SPEC-046"
    assert "store-hunter2" in loaded(tmp_path, STORE, "${env:SLUICE_STORE}").spec.store


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (MLFLOW, "https://evil.example/${env:SLUICE_HOST}"),
        (MLFLOW, "https://${env:SLUICE_HOST}.evil.example"),
        (MLFLOW, "${env:SLUICE_HOST}.evil.example"),
        (STORE, "postgresql://evil.example/${env:SLUICE_STORE}"),
    ],
)
def test_a_variable_is_a_whole_address_or_nothing(tmp_path: Path, old: str, new: str) -> None:
    """Or its value would reach a host that the file names: in a path, or in what is asked of a name server."""
    assert [p.code for p in refused(tmp_path, old, new).problems] == ["SPEC-047"]


def test_what_was_allowed_outside_the_file_is_read(tmp_path: Path) -> None:
    names = {"SLUICE_ALLOWED_ENV": "TEAM_*, OTHER", "TEAM_MLFLOW": "http://team:1", "OTHER": "http://other:2"}
    assert loaded(tmp_path, MLFLOW, "${env:TEAM_MLFLOW}", **names).spec.registry.mlflow == "http://team:1"
    assert loaded(tmp_path, MLFLOW, "${env:OTHER}", **names).spec.registry.mlflow == "http://other:2"
    assert loaded(tmp_path, MLFLOW, "${env:SLUICE_HOST}").spec.registry.mlflow == "mlflow.example.com"


def test_a_database_that_the_file_names_gets_no_password_of_this_machine(tmp_path: Path) -> None:
    evil = "postgresql+psycopg://sluice@evil.example/sluice"
    error = refused(tmp_path, STORE, evil, PGPASSWORD="hunter2")
    assert [p.code for p in error.problems] == ["SPEC-048"]
    assert refused(tmp_path, STORE, f"${{env:SLUICE_UNSET:-{evil}}}", PGPASSFILE="/x").code == "SPEC-048"
    assert loaded(tmp_path, STORE, evil).spec.store == evil
    assert loaded(tmp_path, STORE, evil, PGPASSWORD="x", SLUICE_TRUSTED_HOSTS="evil.example").spec.store == evil
    assert loaded(tmp_path, STORE, "${env:SLUICE_STORE}", PGPASSWORD="x").spec.store == SECRETS["SLUICE_STORE"]


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://mlflow.example.com/x", True),
        ("https://mlflow.example.com:443", True),
        ("https://MLFLOW.example.com", True),
        ("http://mlflow.example.com", False),
        ("https://mlflow.example.com:8443", False),
        ("https://mlflow.example.com.evil.example", False),
        ("https://mlflow.example.com@evil.example", False),
        ("https://evil.example/?mlflow.example.com", False),
        ("http://judge:8000/v1", True),
        ("http://judge:8001/v1", False),
        ("http://anyport:9/v1", True),
        ("mlflow.example.com", False),
        ("", False),
        ("https://[oops", False),
    ],
)
def test_credentials_go_to_hosts_that_the_file_cannot_name(url: str, trusted: bool) -> None:
    environ = {"MLFLOW_TRACKING_URI": "https://mlflow.example.com", "SLUICE_TRUSTED_HOSTS": "judge:8000, anyport"}
    assert trust_of(environ).allows_host(url) is trusted
    assert not trust_of({}).allows_host(url)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    (root / "environments").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("token")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "prompt.txt").write_text("x")
    (root / "prompt.txt").write_text("x")
    (root / "link").symlink_to("/proc/self/environ")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "git").symlink_to(".git")
    (root / "fine").symlink_to("prompt.txt")
    os.mkfifo(root / "pipe")
    return root


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/proc/self/environ", "FILE-003"),
        ("../../../../../../../../proc/self/environ", "FILE-003"),
        ("link", "FILE-003"),
        ("/dev/stdin", "FILE-003"),
        ("/dev/zero", "FILE-003"),
        ("/sys/kernel/notes", "FILE-003"),
        ("pipe", "FILE-003"),
        ("/etc/passwd", "FILE-001"),
        ("../elsewhere/prompt.txt", "FILE-001"),
        ("out/prompt.txt", "FILE-001"),
        (".git/config", "FILE-002"),
        ("git/config", "FILE-002"),
        ("environments/../.git/config", "FILE-002"),
        ("..", "FILE-001"),
    ],
)
def test_no_path_leads_out_of_the_root(root: Path, path: str, code: str) -> None:
    with pytest.raises(SluiceError) as caught:
        readable_file(root, path, environ={})
    assert caught.value.code == code


def test_what_lies_below_the_root_or_an_allowed_folder_is_read(root: Path) -> None:
    for path in ("prompt.txt", "fine", str(root / "prompt.txt"), "environments/../prompt.txt"):
        assert readable_file(root, path, environ={}) == root / "prompt.txt"
    assert readable_file(root, "not-there.txt", environ={}) == root / "not-there.txt"
    allowed = {"SLUICE_FILE_ROOTS": str(root.parent / "elsewhere")}
    assert readable_file(root, "out/prompt.txt", environ=allowed).name == "prompt.txt"
    with pytest.raises(SluiceError):
        readable_file(root, "/proc/self/environ", environ={"SLUICE_FILE_ROOTS": "/"})


@pytest.mark.parametrize("gate", ["environments/evals/chat.yaml", "profiles/chat.yaml"])
@pytest.mark.parametrize("path", ["/etc/hostname", "../elsewhere/prompt.txt", ".git/config"])
def test_suites_and_profiles_stay_below_the_root_too(root: Path, gate: str, path: str) -> None:
    found = problems_of(BASE.replace(gate, path), root)
    assert [p.code for p in found] in (["FILE-001"], ["FILE-002"])
    assert found[0].where.startswith("environments/base.yaml:")
