"""Which registry answers for which reference: the one line that a new registry adds.

Imports its siblings; `plan` and `apply` get their registry here.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import assert_never

from environments.errors import SluiceError
from environments.refs import FileRef, HfRef, MlflowRef, Ref, S3Ref, parse_ref
from environments.spec import RegistrySpec
from reconciler.core.model.release import Artifact
from reconciler.ports import Resolved
from reconciler.registries.file import FileRegistry
from reconciler.registries.hub import HubRegistry
from reconciler.registries.mlflow import MlflowRegistry
from reconciler.registries.s3 import S3Registry


class Registries:
    """A registry that hands each reference to the adapter for its kind."""

    def __init__(self, files: FileRegistry, mlflow: MlflowRegistry | None, home: Path) -> None:
        self._files, self._mlflow = files, mlflow
        self._hub, self._s3 = HubRegistry(home), S3Registry(home)

    async def resolve(self, ref: Ref, *, kind: str) -> Resolved:
        """Return digest and lineage.

        Raises:
            SluiceError: `REG-005` no server declared, and the adapter's own.
        """
        return await self._for(ref).resolve(ref, kind=kind)

    async def mark(self, ref: Ref, alias: str, *, kind: str) -> str | None:
        """Point `alias` at `ref` and return the reference that had it before."""
        return await self._for(ref).mark(ref, alias, kind=kind)

    async def folder(self, artifact: Artifact, *, kind: str) -> Path:
        """Return a folder that holds what the artifact's digest says, and goes on holding it."""
        return await self._for(parse_ref(artifact.ref)).folder(artifact, kind=kind)

    async def keep(self, digests: Collection[str]) -> None:
        """Let go of copies of other digests, but for some that were used last."""
        await self._files.keep(digests)

    async def unmark(self, ref: Ref, alias: str) -> None:
        """Take `alias` away from what `ref` is a version of; succeed if it has none, or there are no aliases."""
        if isinstance(ref, MlflowRef) and self._mlflow:
            await self._mlflow.unmark(ref, alias)

    def _for(self, ref: Ref) -> FileRegistry | MlflowRegistry | HubRegistry | S3Registry:
        match ref:
            case FileRef():
                return self._files
            case MlflowRef():
                return self._mlflow or _undeclared(ref)
            case HfRef():
                return self._hub
            case S3Ref():
                return self._s3
            case _:
                assert_never(ref)


def registry_for(spec: RegistrySpec, root: Path, home: Path) -> Registries:
    """Return the registry of an environment; nothing is contacted before it is asked.

    `root` is the folder that holds `environments/`; `home` keeps copies and digests under `cache/`.
    """
    return Registries(FileRegistry(root, home), MlflowRegistry(spec.mlflow, home) if spec.mlflow else None, home)


def _undeclared(ref: MlflowRef) -> MlflowRegistry:
    raise SluiceError(
        "REG-005",
        where=str(ref),
        what="the environment declares no MLflow server",
        do='add `registry: {mlflow: "${env:MLFLOW_TRACKING_URI}"}` to the environment file',
    )
