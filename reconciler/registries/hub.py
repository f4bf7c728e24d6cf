"""The registry of `hf:` references: a commit of a model on a hub that speaks the API of Hugging Face.

Imports the ports and its siblings; `reconciler.registries.select` makes one. `HF_ENDPOINT` names another hub and
`HF_TOKEN` opens what is not public, as the hub's own clients have it; `HF_HUB_OFFLINE` forbids to ask.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from environments.errors import SluiceError
from environments.refs import HfRef, Ref, parse_ref
from reconciler.core.model.release import Artifact
from reconciler.ports import Resolved
from reconciler.registries.downloads import Downloads, cut_short, settle, target, unstored
from reconciler.registries.safety import PICKLED, check_names

if TYPE_CHECKING:
    import httpx

HUB = "https://huggingface.co"
_UNUSED = (*PICKLED, ".h5", ".msgpack", ".ot", ".gguf", ".onnx")
"""Weights in other formats, beside the safetensors: nothing here serves them, and pickles are never fetched."""
_TIMEOUT_S = 30.0
_OFF = ("", "0", "false", "no", "off")


@dataclass(frozen=True)
class HubFile:
    """A file of a commit. `sha256` is empty for a small one, of which the hub tells none."""

    name: str
    size: int
    sha256: str = ""


class HubRegistry:
    """A `reconciler.ports.Registry` and `Files` over a hub; copies are kept under `home`."""

    def __init__(self, home: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._downloads = Downloads(home)
        self._url = (environ.get("HF_ENDPOINT") or HUB).rstrip("/")
        self._token = environ.get("HF_TOKEN", "")
        self._offline = environ.get("HF_HUB_OFFLINE", "").lower() not in _OFF

    async def resolve(self, ref: Ref, *, kind: str) -> Resolved:
        """Return the digest of what a commit holds.

        Raises:
            SluiceError: `REG-001` no such commit, `REG-002` refused, `REG-003` the hub cannot be reached.
        """
        named = _named(ref)
        digest = await self._downloads.digest(named, kind, lambda part: self._fill(named, part))
        text = await self._downloads.text(named, lambda part: self._fill(named, part)) if kind == "prompt" else None
        return Resolved(Artifact(str(named), digest), await self._downloads.lineage(named, kind), text)

    async def folder(self, artifact: Artifact, *, kind: str) -> Path:
        """Return the copy of a commit.

        Raises:
            SluiceError: what `resolve` raises; `REG-006` it has another digest.
        """
        named = _named(parse_ref(artifact.ref))
        return await self._downloads.folder(named, artifact, kind, lambda part: self._fill(named, part))

    async def mark(self, ref: Ref, alias: str, *, kind: str) -> str | None:
        """Do nothing: a hub has no aliases of ours."""
        return None

    async def _fill(self, ref: HfRef, part: Path) -> None:
        import httpx

        if self._offline:
            why = "HF_HUB_OFFLINE is set, and this machine has no copy of the commit"
            raise self._unreachable(ref, why)
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            async with httpx.AsyncClient(
                base_url=self._url, headers=headers, timeout=_TIMEOUT_S, follow_redirects=True
            ) as client:
                for file in await self._listed(client, ref):
                    await _download(client, ref, file, target(ref, part, file.name))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(ref, f"{type(error).__name__}: {error}") from error
        except OSError as error:
            raise unstored(ref, part, error) from error

    async def _listed(self, client: httpx.AsyncClient, ref: HfRef) -> list[HubFile]:
        path = f"/api/models/{ref.repository}/revision/{ref.commit}"
        answer = await client.get(path, params={"blobs": "true"})
        if answer.status_code != 200:
            raise _refused(ref, answer)
        try:
            body = answer.json()
            listed = [_file(each) for each in body["siblings"]]
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreachable(ref, f"its answer is no list of files: {error!r}") from error
        if body.get("sha") != ref.commit:
            raise cut_short(ref, "the commit", f"the hub answers with {body.get('sha')}")
        check_names(str(ref), [file.name for file in listed])
        return [file for file in listed if not _left_out(file.name)]

    def _unreachable(self, ref: HfRef, why: str) -> SluiceError:
        return SluiceError(
            "REG-003",
            where=str(ref),
            what=f"the hub at {self._url} cannot be asked",
            why=why,
            do="run this where the hub can be reached (HF_ENDPOINT names a mirror), or register the model in MLflow",
            retryable=True,
        )


def _file(sibling: Mapping[str, Any]) -> HubFile:
    large = sibling.get("lfs") or {}
    return HubFile(str(sibling["rfilename"]), int((large or sibling)["size"]), str(large.get("sha256", "")))


def _left_out(name: str) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    return hidden or PurePosixPath(name).suffix.lower() in _UNUSED


async def _download(client: httpx.AsyncClient, ref: HfRef, file: HubFile, path: Path) -> None:
    sha, stored = hashlib.sha256(), 0
    url = f"/{ref.repository}/resolve/{ref.commit}/{quote(file.name)}"
    async with client.stream("GET", url) as answer:
        if answer.status_code != 200:
            await answer.aread()
            raise _refused(ref, answer)
        with path.open("wb") as out:
            async for block in answer.aiter_bytes(1 << 20):
                stored += out.write(block)
                sha.update(block)
    if stored != file.size:
        raise cut_short(ref, file.name, f"{stored} of {file.size} bytes")
    if file.sha256 and sha.hexdigest() != file.sha256:
        raise cut_short(ref, file.name, "its SHA-256 is not the one that the hub tells")
    settle(path)


def _refused(ref: HfRef, answer: httpx.Response) -> SluiceError:
    told = answer.headers.get("x-error-code") or f"HTTP {answer.status_code}"
    if answer.status_code in (401, 403):
        do = "accept the model's terms on the hub, and set HF_TOKEN to a token that may read it"
        return SluiceError("REG-003", where=str(ref), what="the hub does not give it to us", why=told, do=do)
    if answer.status_code == 404:
        do = "correct ORG/NAME and the full commit"
        return SluiceError("REG-001", where=str(ref), what="the hub has no such commit", why=told, do=do)
    what, do = f"the hub answers {told}", "try again later"
    return SluiceError("REG-003", where=str(ref), what=what, do=do, retryable=True)


def _named(ref: Ref) -> HfRef:
    if not isinstance(ref, HfRef):
        raise TypeError(f"{ref} is not a reference to a hub")
    return ref
