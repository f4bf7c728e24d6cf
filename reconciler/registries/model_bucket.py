"""Copies of models in a bucket of S3, each below its digest, with a manifest that is written last.

Imports its siblings; `reconciler.compose` makes one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from environments.errors import SluiceError
from reconciler.core.model.copies import (
    CopiedFile,
    Manifest,
    folder_digest,
    folder_key,
    manifest_key,
    manifest_of,
    manifest_text,
)
from reconciler.core.model.release import Artifact
from reconciler.ports import Pushed
from reconciler.registries.digests import DigestCache, content_files
from reconciler.registries.s3_api import absent, client, explained, holds, upload


class S3ModelBucket:
    """The copies at `address` (`s3://BUCKET/PREFIX`). `digests` remembers what was hashed on this machine."""

    def __init__(self, address: str, digests: Path) -> None:
        self._address, self._digests = address.rstrip("/"), digests
        self._bucket, _, self._prefix = address.removeprefix("s3://").partition("/")
        self._client: Any = None

    async def manifest(self, digest: str) -> Manifest | None:
        """Return what lies below a digest; None where no manifest says that it lies there whole."""
        return await asyncio.to_thread(self._manifest, digest)

    async def push(self, artifact: Artifact, folder: Path, *, told: Callable[[str, int], None]) -> Pushed:
        """Copy a folder below its digest: files first, one after another, and the manifest last."""
        return await asyncio.to_thread(self._push, artifact, folder, told)

    def _push(self, artifact: Artifact, folder: Path, told: Callable[[str, int], None]) -> Pushed:
        files, s3 = self._files(artifact, folder), self._s3()
        address = f"s3://{self._bucket}/{folder_key(self._prefix, artifact.digest)}"
        sent = []
        with explained(address):
            for file, path in files:
                key = folder_key(self._prefix, artifact.digest) + file.name
                if not holds(s3, self._bucket, key, path, file.sha256):
                    upload(s3, path, self._bucket, key, partial(told, file.name))
                    if not holds(s3, self._bucket, key, path, file.sha256):
                        raise _other(f"s3://{self._bucket}/{key}")
                    sent.append(file)
            self._seal(s3, Manifest(artifact.ref, tuple(file for file, _ in files)))
        total = sum(file.size for file, _ in files)
        return Pushed(address, len(files), total, len(sent), sum(file.size for file in sent))

    def _files(self, artifact: Artifact, folder: Path) -> list[tuple[CopiedFile, Path]]:
        cache = DigestCache(self._digests)
        found = [
            (CopiedFile(name, path.stat().st_size, cache.sha256(path)), path)
            for name, path in sorted(content_files(folder, artifact.ref))
        ]
        cache.save()
        has = folder_digest(file for file, _ in found)
        if has != artifact.digest:
            raise SluiceError(
                "REG-006",
                where=artifact.ref,
                what="the folder is not what the reference was resolved to",
                why=f"it holds {has}, not {artifact.digest}: it was changed meanwhile",
                do="run the same command again",
            )
        return found

    def _seal(self, s3: Any, manifest: Manifest) -> None:
        """Write the manifest unless it is there: who copied the same content by another reference has said enough."""
        if self._found(s3, manifest.digest) is None:
            body = manifest_text(manifest).encode()
            key = manifest_key(self._prefix, manifest.digest)
            s3.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="application/json")

    def _manifest(self, digest: str) -> Manifest | None:
        with explained(f"{self._address}/{digest.removeprefix('sha256:')}"):
            return self._found(self._s3(), digest)

    def _found(self, s3: Any, digest: str) -> Manifest | None:
        from botocore.exceptions import ClientError

        try:
            text = s3.get_object(Bucket=self._bucket, Key=manifest_key(self._prefix, digest))["Body"].read()
            found = manifest_of(text)
        except ClientError as error:
            if absent(error) and "NoSuchBucket" not in str(error):
                return None
            raise
        except ValueError:
            return None  # a damaged manifest says nothing; a push writes it again
        return found if found.digest == digest else None

    def _s3(self) -> Any:
        if self._client is None:
            self._client = client(self._address)
        return self._client


def _other(where: str) -> SluiceError:
    return SluiceError(
        "REG-008",
        where=where,
        what="what lies there is not what was sent",
        why="its SHA-256 is another; servers do not see the model, because its manifest was not written",
        do="run the same command again; if it happens again, look at who else writes to the bucket",
        retryable=True,
    )
