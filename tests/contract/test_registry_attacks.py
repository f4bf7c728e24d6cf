"""What a reference in a pull request may try while it is planned: read files of the machine, and collect its tokens."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from environments.errors import SluiceError
from environments.refs import parse_ref
from environments.spec import RegistrySpec
from reconciler.core.model.release import Lineage
from reconciler.ports import Resolved
from reconciler.registries.file import FileRegistry
from reconciler.registries.mlflow_api import MlflowApi
from reconciler.registries.select import registry_for
from tests.support.servers.doubles import model_folder
from tests.support.servers.http_stub import Answer, Asked, http_stub

KINDS = ("prompt", "guardrails", "index", "model", "adapter")
TOKEN, PASSWORD = "token-hunter2", "password-hunter2"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SLUICE_FILE_ROOTS", raising=False)
    root = tmp_path / "repo"
    (root / ".git").mkdir(parents=True)
    (root / ".git" / "config").write_text("hunter2")
    (root / "environ").symlink_to("/proc/self/environ")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(root / "pipe")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "notes.txt").write_text("hunter2")
    return root


async def resolve(root: Path, ref: str, kind: str) -> Resolved:
    return await registry_for(RegistrySpec(), root, root / ".sluice").resolve(parse_ref(ref), kind=kind)


async def refused(root: Path, ref: str, kind: str) -> SluiceError:
    with pytest.raises(SluiceError) as caught:
        await resolve(root, ref, kind)
    assert "hunter2" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ref", ["file:/proc/self/environ", "file:environ", "file:/dev/zero", "file:pipe", "file:/sys"])
async def test_nothing_that_the_kernel_makes_up_is_read_or_waited_for(root: Path, ref: str, kind: str) -> None:
    assert (await refused(root, ref, kind)).code == "FILE-003"


@pytest.mark.parametrize("kind", ["prompt", "guardrails", "index"])
@pytest.mark.parametrize("ref", ["file:/etc/passwd", "file:../elsewhere/notes.txt", "file:out/notes.txt"])
async def test_no_text_from_outside_of_the_root_reaches_a_plan(root: Path, ref: str, kind: str) -> None:
    assert (await refused(root, ref, kind)).code == "FILE-001"


@pytest.mark.parametrize("kind", ["prompt", "guardrails", "index"])
async def test_nor_what_the_checkout_keeps_hidden(root: Path, kind: str) -> None:
    assert (await refused(root, "file:.git/config", kind)).code == "FILE-002"


async def test_an_allowed_folder_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_FILE_ROOTS", f"/nowhere:{root.parent / 'elsewhere'}")
    assert (await resolve(root, "file:out/notes.txt", "prompt")).text == "hunter2"


async def test_a_model_may_lie_anywhere_and_shows_nothing_but_its_digest(root: Path) -> None:
    """Weights are seldom in the repository; what is no servable folder is refused without a word on what is there."""
    model = model_folder(root.parent / "elsewhere", "v1")
    found = await resolve(root, f"file:{model}", "model")
    assert found.text is None
    assert found.lineage == Lineage(source=f"file:{model}"), "what the file declares, and no more"
    for ref in (f"file:{root.parent / 'elsewhere'}", "file:/etc", f"file:{root.parent / 'elsewhere' / 'nothing'}"):
        error = await refused(root, ref, "model")
        assert "notes.txt" not in str(error)
        assert "passwd" not in str(error)
        assert error.problem.do


async def test_a_pipe_inside_a_model_is_refused_and_not_waited_for(root: Path) -> None:
    model = model_folder(root, "v1")
    os.mkfifo(model / "merges.txt")
    assert (await refused(root, "file:v1", "model")).code == "REG-002"


async def test_a_link_that_leads_elsewhere_by_now_starts_nothing_else(root: Path) -> None:
    model_folder(root, "v1", content="1")
    model_folder(root, "v2", content="2")
    (root / "current").symlink_to("v1")
    registry = FileRegistry(root, root / ".sluice")
    found = await registry.resolve(parse_ref("file:current"), kind="model")
    (root / "current").unlink()
    (root / "current").symlink_to("v2")
    with pytest.raises(SluiceError, match="REG-006"):
        await registry.folder(found.artifact, kind="model")


async def test_a_prompt_has_a_size(root: Path) -> None:
    with (root / "huge.txt").open("wb") as file:
        file.truncate(10**12)
    assert (await refused(root, "file:huge.txt", "prompt")).code == "REG-001"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "SLUICE_TRUSTED_HOSTS", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME"):
        monkeypatch.delenv(name, raising=False)


async def said_to(url: str, sent: list[str]) -> None:
    api = MlflowApi(url)
    for call in (api.get("x", "w"), api.post("x", "w"), api.upload("x", "w", b""), api.list_artifacts("x", "w")):
        await call
    async with api.download("x", "w") as parts:
        async for _ in parts:
            pass
    assert len(sent) == 5


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("kind", ["token", "password"])
async def test_credentials_go_to_no_server_that_only_the_file_names(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    if kind == "token":
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    sent: list[str] = []

    def answer(asked: Asked) -> Answer:
        sent.append(asked.headers.get("authorization", ""))
        return 200, {"files": []}

    with http_stub(answer) as url:
        await said_to(url, sent)
        assert set(sent) == {""}
        host = url.removeprefix("http://")
        for variable, value in (("MLFLOW_TRACKING_URI", url), ("SLUICE_TRUSTED_HOSTS", f"other, {host}")):
            sent.clear()
            with monkeypatch.context() as trusted:
                trusted.setenv(variable, value)
                await said_to(url, sent)
            assert all(sent)
            assert len(set(sent)) == 1


@pytest.mark.usefixtures("credentials")
async def test_a_refusal_says_that_no_credentials_were_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    with http_stub(lambda _: (401, None)) as url, pytest.raises(SluiceError) as caught:
        await MlflowApi(url).get("x", "w")
    assert "SLUICE_TRUSTED_HOSTS" in caught.value.problem.do


@pytest.mark.usefixtures("credentials")
async def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    asked: list[str] = []

    def answer(request: Asked) -> Answer:
        asked.append(request.path)
        return 307, "/elsewhere"

    with http_stub(answer) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        with pytest.raises(SluiceError):
            await MlflowApi(url).get("x", "w")
    assert asked == ["/api/2.0/mlflow/x"]
