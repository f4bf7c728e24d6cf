"""What `load` gives for good files: types, lines, variables, root."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from environments.errors import SluiceError, SpecError
from environments.find import find, known_environments, reachable
from environments.load import load
from environments.yaml_tree import join_path, split_path
from tests.unit.environments.loading import BASE, load_text

ROOT = Path(__file__).parents[3]
SHIPPED = known_environments(ROOT / "environments")


def test_the_base_file_is_good(tmp_path: Path) -> None:
    loaded = load_text(BASE, tmp_path)
    assert loaded.root == tmp_path
    endpoint = loaded.spec.endpoints["chat"]
    assert endpoint.rollout.steps_pct == [1, 10, 50]
    assert endpoint.release.index is not None
    assert endpoint.release.index.built_at == datetime(2026, 11, 20, 4, tzinfo=UTC)
    assert loaded.spec.policies["GPU-001"].level == "deny"
    assert loaded.spec.policies["COST-002"].max_increase_pct == 20


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("endpoints.chat.release.model", 49),
        ("endpoints.chat.rollout.steps_pct[1]", 65),
        ("endpoints.chat.rollout.steps_pct.1", 65),
        ("endpoints.chat.rollout", 61),
        ("endpoints.chat.rollout.limits[0].query", 85),
        ("endpoints.chat.rollout.not_there", 61),
        ("endpoints.nobody.rollout", 37),
        ("", 2),
    ],
)
def test_every_path_has_a_line(path: str, line: int, tmp_path: Path) -> None:
    assert load_text(BASE, tmp_path).lines.where(path) == f"environments/base.yaml:{line}"


def test_paths_read_and_written_agree() -> None:
    assert split_path("a.b[2].c") == ("a", "b", 2, "c")
    assert join_path(split_path("a.b[2].c")) == "a.b[2].c"


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    plain = load_text(BASE, tmp_path)
    windows = load_text(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode(), tmp_path)
    assert windows.spec == plain.spec
    assert windows.lines.where("endpoints.chat.team") == plain.lines.where("endpoints.chat.team")


def test_an_alias_stands_for_a_whole_value(tmp_path: Path) -> None:
    text = BASE.replace("nodes: {min: 1, max: 6}", "nodes: &bounds {min: 1, max: 6}")
    text = text.replace("nodes: {min: 0, max: 2}", "nodes: *bounds")
    assert load_text(text, tmp_path).spec.regions["us"].gpu_pools["l4"].nodes.max == 6


def test_variables_are_filled_in(tmp_path: Path) -> None:
    text = BASE.replace("sqlite:///.sluice/base.db", "${env:SLUICE_STORE:-sqlite:///${env:NOT_NESTED}}")
    with pytest.raises(SpecError):
        load_text(text, tmp_path)
    path = tmp_path / "environments" / "base.yaml"
    path.write_text(BASE.replace("sqlite:///.sluice/base.db", "${env:SLUICE_STORE:-sqlite:///x.db}"))
    assert load(path, environ={}).spec.store == "sqlite:///x.db"
    assert load(path, environ={"SLUICE_STORE": ""}).spec.store == "sqlite:///x.db"
    assert load(path, environ={"SLUICE_STORE": "postgresql://u:pw@h/d"}).spec.store == "postgresql://u:pw@h/d"


def test_callers_that_connect_to_nothing_may_keep_unset_variables(tmp_path: Path) -> None:
    load_text(BASE, tmp_path)
    path = tmp_path / "environments" / "base.yaml"
    path.write_text(BASE.replace("http://mlflow:5000", "${env:SLUICE_NOT_SET_ANYWHERE}"))
    with pytest.raises(SpecError, match="SLUICE_NOT_SET_ANYWHERE"):
        load(path, environ={})
    assert load(path, environ={}, unset="keep").spec.registry.mlflow == "${env:SLUICE_NOT_SET_ANYWHERE}"


def test_a_secret_from_a_variable_is_in_no_message(tmp_path: Path) -> None:
    load_text(BASE, tmp_path)
    path = tmp_path / "environments" / "base.yaml"
    path.write_text(
        BASE.replace("sqlite:///.sluice/base.db", "${env:SLUICE_STORE}").replace("owner: ml-platform", "owner: 7")
    )
    with pytest.raises(SpecError) as caught:
        load(path, environ={"SLUICE_STORE": "postgresql://u:topsecret@h/d"})
    assert "topsecret" not in str(caught.value)


def test_a_missing_file_is_a_coded_error(tmp_path: Path) -> None:
    for path in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(SpecError) as caught:
            load(path)
        assert caught.value.code == "SPEC-002"


def test_find_takes_a_file_or_a_name(tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "prod.yaml").touch()
    (tmp_path / "environments" / "dev.yaml").touch()
    inner = tmp_path / "stacks" / "platform"
    inner.mkdir(parents=True)
    assert find("prod", environ={}, start=inner) == tmp_path / "environments" / "prod.yaml"
    assert find(file=Path("x.yaml")) == Path("x.yaml")
    named = {"SLUICE_ENVIRONMENTS": str(tmp_path / "environments")}
    assert find("dev", environ=named, start=Path("/")) == tmp_path / "environments" / "dev.yaml"


@pytest.mark.parametrize("name", ["prd", None, "../dev", "", "dev.yaml"])
def test_an_unknown_environment_names_the_known_ones(name: str | None, tmp_path: Path) -> None:
    for known in ("dev", "prod"):
        (tmp_path / f"{known}.yaml").touch()
    with pytest.raises(SluiceError) as caught:
        find(name, environ={"SLUICE_ENVIRONMENTS": str(tmp_path)})
    assert caught.value.code == "SPEC-001"
    assert "known: dev, prod" in caught.value.problem.do
    if name == "prd":
        assert 'nearest: "prod"' in caught.value.problem.do


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_environments_load_without_any_variable(name: str) -> None:
    loaded = load(ROOT / "environments" / f"{name}.yaml", environ={})
    assert loaded.spec.environment == name
    assert loaded.root == ROOT


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_point_editors_at_the_schema(name: str) -> None:
    text = (ROOT / "environments" / f"{name}.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")


@pytest.mark.parametrize("name", SHIPPED)
def test_files_that_shipped_environments_refer_to_are_there(name: str) -> None:
    spec = load(ROOT / "environments" / f"{name}.yaml", environ={}).spec
    for endpoint in spec.endpoints.values():
        guardrails = endpoint.release.guardrails
        for ref in [*endpoint.release.prompts.values(), guardrails.ref if guardrails else ""]:
            if ref.startswith("file:"):
                assert (ROOT / ref.removeprefix("file:")).is_file(), ref


def test_production_is_what_the_stacks_expect() -> None:
    spec = load(ROOT / "environments" / "prod.yaml", environ={}).spec
    assert len(spec.regions) == 3
    assert len(spec.endpoints) == 4
    assert {endpoint.runtime for endpoint in spec.endpoints.values()} == {"vllm", "triton"}
    assert sorted(region.platform for region in spec.regions.values()) == ["kubernetes", "kubernetes", "sagemaker"]


@pytest.mark.parametrize(
    ("path", "start", "shown"),
    [
        ("/repo/environments/prod.yaml", "/repo", "environments/prod.yaml"),
        ("/repo/environments/prod.yaml", "/repo/stacks/platform", "../../environments/prod.yaml"),
        ("/repo/user1/bad.yaml", "/repo/user1", "bad.yaml"),
        ("/elsewhere/environments/prod.yaml", "/work/deep/down/here", "/elsewhere/environments/prod.yaml"),
    ],
)
def test_a_path_in_a_message_can_be_opened_from_where_one_stands(path: str, start: str, shown: str) -> None:
    assert reachable(Path(path), start=Path(start)) == shown


def test_what_is_missing_is_named_so_that_it_can_be_made(tmp_path: Path) -> None:
    load_text(BASE, tmp_path)
    (tmp_path / "profiles" / "chat.yaml").unlink()
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "environments" / "base.yaml", environ={}, shown=lambda path: f"<{path.relative_to(tmp_path)}>")
    assert caught.value.problem.where.startswith("<environments/base.yaml>:")
    assert "create <profiles/chat.yaml>" in caught.value.problem.do
