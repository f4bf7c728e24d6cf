"""The registry of `mlflow:` references: versions of models and prompts on an MLflow tracking server.

Imports the ports and its siblings; `reconciler.registries.select` makes one. A model's files are copied to this machine
once; after that a plan asks the server for the version alone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from environments.errors import SluiceError
from environments.refs import MlflowRef, Ref, parse_ref
from reconciler.core.canonical import canonical_json
from reconciler.core.model.release import Artifact, Lineage
from reconciler.ports import Resolved
from reconciler.registries.artifacts import changed_copy, fetch, recall, remember
from reconciler.registries.digests import DigestCache, content_digest
from reconciler.registries.facts import facts_of, facts_of_tags
from reconciler.registries.file import DIGESTS
from reconciler.registries.mlflow_api import MlflowApi
from reconciler.registries.sizes import model_facts

_IS_PROMPT = "mlflow.prompt.is_prompt"
_PROMPT_TEXT = "mlflow.prompt.text"


class MlflowRegistry:
    """A `reconciler.ports.Registry` over the tracking server at `url`; copies are kept under `home`."""

    def __init__(self, url: str, home: Path) -> None:
        self._api = MlflowApi(url)
        self._cache = home / "cache"

    async def resolve(self, ref: Ref, *, kind: str) -> Resolved:
        """Return digest, lineage and, for a prompt, its text (a chat prompt's messages as JSON)."""
        named = _named(ref)
        version = await self._version(named)
        tags = {tag["key"]: tag.get("value", "") for tag in version.get("tags", [])}
        _check_kind(named, kind, tags)
        if kind == "prompt":
            return _prompt(named, version, tags)
        return await self._files(named, kind, version, tags)

    async def folder(self, artifact: Artifact, *, kind: str) -> Path:
        """Return the copy with this digest; the server is asked only where this machine has none yet.

        Raises:
            SluiceError: `REG-006` the version has another digest now, `REG-002` the copy was changed; and what
                `resolve` raises.
        """
        named = _named(parse_ref(artifact.ref))
        found = await asyncio.to_thread(self._copy_of, named, artifact, kind)
        if found is not None:
            return found
        facts, folder = await self._fetched(named, kind, await self._version(named))
        if facts["digest"] != artifact.digest:
            raise _other_content(named, facts["digest"], artifact.digest)
        if await asyncio.to_thread(self._digest, named, kind, folder) != artifact.digest:
            raise changed_copy(named, folder)
        return folder

    async def keep(self, digests: Collection[str]) -> None:
        """Do nothing: what was downloaded stays, because it is what the digest of a version is known by."""

    async def mark(self, ref: Ref, alias: str, *, kind: str) -> str | None:
        """Point `alias` at a version and return the reference that had it; write nothing when it has it."""
        named = _named(ref)
        before = await self._aliased(named, alias)
        if before != str(named):
            await self._api.post(
                "registered-models/alias", str(named), name=named.name, alias=alias, version=str(named.version)
            )
        return before

    async def unmark(self, ref: Ref, alias: str) -> None:
        """Take `alias` away from the model that `ref` is a version of; succeed if it has none."""
        named = _named(ref)
        if await self._aliased(named, alias) is not None:
            await self._api.delete("registered-models/alias", str(named), name=named.name, alias=alias)

    async def _aliased(self, ref: MlflowRef, alias: str) -> str | None:
        answer = await self._api.get("registered-models/get", str(ref), name=ref.name)
        aliases = answer.get("registered_model", {}).get("aliases", [])
        found = next((a["version"] for a in aliases if a.get("alias") == alias), None)
        return None if found is None else str(MlflowRef(ref.name, int(found)))

    async def _version(self, ref: MlflowRef) -> dict[str, Any]:
        query = {"name": ref.name, "version": str(ref.version)}
        answer = await self._api.get("model-versions/get", str(ref), **query)
        version: dict[str, Any] = answer.get("model_version", {})
        status = version.get("status", "READY")
        if status != "READY":
            raise SluiceError(
                "REG-001",
                where=str(ref),
                what=f"the version is not ready: {status}",
                why=str(version.get("status_message", "")),
                do="wait until it is registered",
                retryable=status == "PENDING_REGISTRATION",
            )
        return version

    async def _files(self, ref: MlflowRef, kind: str, version: dict[str, Any], tags: dict[str, str]) -> Resolved:
        facts, folder = await self._fetched(ref, kind, version)
        digest = await asyncio.to_thread(self._digest, ref, kind, folder)
        if digest != facts["digest"]:
            raise changed_copy(ref, folder)
        lineage = Lineage(
            run_id=version.get("run_id") or None,
            source=version.get("source"),
            datasets=tuple(facts["datasets"]),
            facts=await asyncio.to_thread(facts_of, folder, kind, tags),
            size=await asyncio.to_thread(model_facts, folder, kind),
        )
        return Resolved(Artifact(str(ref), digest), lineage)

    async def _fetched(self, ref: MlflowRef, kind: str, version: dict[str, Any]) -> tuple[dict[str, Any], Path]:
        """Return what is known of a version's copy, and the copy, downloaded unless it is there."""
        folder = self._cache / "models" / self._copy_name(ref, version)
        return recall(folder) or await self._learn(ref, kind, version, folder), folder.absolute()

    def _copy_of(self, ref: MlflowRef, artifact: Artifact, kind: str) -> Path | None:
        """Return the copy that was downloaded for a reference and still has the digest, None when there is none."""
        for folder in sorted((self._cache / "models").glob(f"{_file_name(ref)}-*")):
            known = recall(folder) or {}
            if known.get("digest") == artifact.digest and self._digest(ref, kind, folder) == artifact.digest:
                return folder.absolute()
        return None

    async def _learn(self, ref: MlflowRef, kind: str, version: dict[str, Any], folder: Path) -> dict[str, Any]:
        query = {"name": ref.name, "version": str(ref.version)}
        answer = await self._api.get("model-versions/get-download-uri", str(ref), **query)
        uri = await self._stored_at(ref, str(answer.get("artifact_uri", "")))
        await fetch(self._api, ref=str(ref), kind=kind, uri=uri, folder=folder)
        digest = await asyncio.to_thread(self._digest, ref, kind, folder)
        facts = {"ref": str(ref), "digest": digest, "datasets": await self._datasets(ref, version)}
        remember(folder, facts)
        return facts

    async def _stored_at(self, ref: MlflowRef, uri: str) -> str:
        """Return where the files are, for a version that was registered by its run or its logged model."""
        scheme, _, rest = uri.partition(":/")
        owner, _, path = rest.strip("/").partition("/")
        if scheme == "runs":
            answer = await self._api.get("runs/get", str(ref), run_id=owner)
            base = answer.get("run", {}).get("info", {}).get("artifact_uri", "")
        elif scheme == "models" and owner.startswith("m-"):
            answer = await self._api.get(f"logged-models/{owner}", str(ref))
            base = answer.get("model", {}).get("info", {}).get("artifact_uri", "")
        else:
            return uri
        return f"{base.rstrip('/')}/{path}".rstrip("/")

    async def _datasets(self, ref: MlflowRef, version: dict[str, Any]) -> list[str]:
        run_id = version.get("run_id")
        if not run_id:
            return []
        answer = await self._api.get("runs/get", str(ref), run_id=run_id)
        inputs = answer.get("run", {}).get("inputs", {}).get("dataset_inputs", [])
        return sorted(f"{i['dataset']['name']}@{i['dataset']['digest']}" for i in inputs)

    def _digest(self, ref: MlflowRef, kind: str, folder: Path) -> str:
        return content_digest(folder, DigestCache(self._cache / DIGESTS), ref=str(ref), kind=kind)

    def _copy_name(self, ref: MlflowRef, version: dict[str, Any]) -> str:
        """Name a copy after what makes a version that one: a number that is given again after a deletion is another."""
        identity = [self._api.url, ref.name, ref.version, version.get("source"), version.get("creation_timestamp")]
        mark = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:12]
        return f"{_file_name(ref)}-{mark}"


def _file_name(ref: MlflowRef) -> str:
    return f"{ref.name.replace(' ', '_')}-{ref.version}"


def _named(ref: Ref) -> MlflowRef:
    if not isinstance(ref, MlflowRef):
        raise TypeError(f"{ref} is not an mlflow reference")
    return ref


def _check_kind(ref: MlflowRef, kind: str, tags: dict[str, str]) -> None:
    is_prompt = tags.get(_IS_PROMPT) == "true" and _PROMPT_TEXT in tags
    if is_prompt != (kind == "prompt"):
        raise SluiceError(
            "REG-001",
            where=str(ref),
            what=f"this is {'a prompt' if is_prompt else 'a model'}, where {kind} is declared",
            do=f"name a registered {kind}",
        )


def _prompt(ref: MlflowRef, version: dict[str, Any], tags: dict[str, str]) -> Resolved:
    text = tags[_PROMPT_TEXT]
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    lineage = Lineage(run_id=version.get("run_id") or None, source=str(ref), facts=facts_of_tags(tags))
    return Resolved(Artifact(str(ref), digest), lineage, text)


def _other_content(ref: MlflowRef, found: str, wanted: str) -> SluiceError:
    return SluiceError(
        "REG-006",
        where=str(ref),
        what="the content that was planned is not on this machine any more",
        why=f"there is no copy of it, and the server now gives {found}, not {wanted}",
        do="register that content again, or declare what is there now and plan again",
    )
