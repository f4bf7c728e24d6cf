"""The registry of `hf:` references against a double that answers as the hub does, and refuses what it refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.refs import parse_ref
from environments.spec import RegistrySpec
from reconciler.registries.hub import HubRegistry
from reconciler.registries.select import registry_for
from tests.support.servers.doubles import model_folder
from tests.support.servers.http_stub import Answer, Asked, http_stub

COMMIT, REPOSITORY = "a" * 40, "org/tiny"
REF = f"hf:{REPOSITORY}@{COMMIT}"


@dataclass
class Hub:
    """What the double has: files by name, which of them it stores as large ones, and who may read."""

    files: dict[str, bytes]
    large: frozenset[str] = frozenset({"model.safetensors"})
    token: str = ""
    sha: str = COMMIT
    sent: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"error": "Access to model org/tiny is restricted."}
        if asked.path == f"/api/models/{REPOSITORY}/revision/{COMMIT}":
            return 200, {"id": REPOSITORY, "sha": self.sha, "siblings": [self._told(name) for name in self.files]}
        begin = f"/{REPOSITORY}/resolve/{COMMIT}/"
        name = asked.path.removeprefix(begin)
        if asked.path.startswith(begin) and name in self.files:
            return 200, self.sent.get(name, self.files[name])
        return 404, {"error": "Repository not found"}

    def _told(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        known: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
        if name in self.large:
            known["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return known


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Return a hub with one model, which this process's registries ask."""
    source = model_folder(tmp_path, "m")
    found = Hub({path.name: path.read_bytes() for path in source.iterdir()})
    with http_stub(found.answer) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield found


def registry(home: Path) -> HubRegistry:
    return HubRegistry(home / ".sluice")


async def refused(home: Path, ref: str = REF) -> SluiceError:
    with pytest.raises(SluiceError) as error:
        await registry(home).resolve(parse_ref(ref), kind="model")
    assert error.value.problem.do
    assert not list((home / ".sluice" / "cache" / "models").glob("hf-*[0-9a-f]")), "nothing half is kept"
    return error.value


async def test_a_commit_is_the_model_that_the_same_files_are(hub: Hub, tmp_path: Path) -> None:
    """Pickles and other formats beside the safetensors are not fetched: nothing serves them."""
    hub.files |= {"pytorch_model.bin": b"pickle", "tf_model.h5": b"other", ".gitattributes": b"x", "README.md": b"hi"}
    found = await registry(tmp_path).resolve(parse_ref(REF), kind="model")
    (tmp_path / "m" / "README.md").write_bytes(b"hi")
    same = await registry_for(RegistrySpec(), tmp_path, tmp_path).resolve(parse_ref("file:m"), kind="model")
    assert found.artifact.digest == same.artifact.digest
    assert found.lineage.facts == same.lineage.facts is not None, "policies know as much of it"
    assert found.lineage.size == same.lineage.size is not None, "and so does the estimate of memory"
    folder = await registry(tmp_path).folder(found.artifact, kind="model")
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert not any("bin" in asked.path for asked in hub.asked)


async def test_a_commit_is_fetched_once(hub: Hub, tmp_path: Path) -> None:
    first = await registry(tmp_path).resolve(parse_ref(REF), kind="model")
    hub.files.clear()
    assert await registry(tmp_path).resolve(parse_ref(REF), kind="model") == first


async def test_a_hub_that_cannot_be_reached_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    error = await refused(tmp_path)
    assert (error.code, error.retryable) == ("REG-003", True)
    assert "http://127.0.0.1:9" in error.problem.what


async def test_a_machine_that_may_not_ask_does_not(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in (await refused(tmp_path)).problem.why
    assert hub.asked == []


async def test_what_is_not_public_needs_a_token_that_no_error_shows(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_" + "right" * 6
    wrong = "hf_" + "wrong" * 6
    monkeypatch.setenv("HF_TOKEN", wrong)
    error = await refused(tmp_path)
    assert (error.code, wrong in str(error)) == ("REG-003", False)
    assert "HF_TOKEN" in error.problem.do
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert (await registry(tmp_path).resolve(parse_ref(REF), kind="model")).artifact.digest


async def test_a_commit_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    assert (await refused(tmp_path, f"hf:{REPOSITORY}@{'b' * 40}")).code == "REG-001"


@pytest.mark.parametrize("sent", [b"short", b""])
async def test_a_file_that_is_cut_short_is_not_kept(hub: Hub, tmp_path: Path, sent: bytes) -> None:
    hub.sent["config.json"] = sent
    assert (await refused(tmp_path)).code == "REG-003"


async def test_a_large_file_with_another_hash_is_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.sent["model.safetensors"] = hub.files["model.safetensors"][::-1]
    assert "SHA-256" in (await refused(tmp_path)).problem.what


async def test_a_hub_that_answers_with_another_commit_is_not_believed(hub: Hub, tmp_path: Path) -> None:
    hub.sha = "b" * 40
    assert (await refused(tmp_path)).code == "REG-003"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "a\\b"])
async def test_a_name_that_leads_out_is_refused(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.files[name] = b"x"
    assert (await refused(tmp_path)).code == "REG-002"
