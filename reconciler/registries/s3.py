"""The registry of `s3:` references: one version of an object, or a folder as it was at the end of a day.

Imports the ports and its siblings; `reconciler.registries.select` makes one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from environments.errors import SluiceError
from environments.refs import Ref, S3Ref, parse_ref
from reconciler.core.canonical import digest
from reconciler.core.model.release import Artifact, Lineage
from reconciler.ports import Resolved
from reconciler.registries.downloads import Downloads, cut_short, settle, target, unstored
from reconciler.registries.s3_api import absent, client, explained
from reconciler.registries.safety import check_names

LISTED_ALONE = "index"
"""What is known by its objects' versions: servers never load it, and it may be larger than a model."""


@dataclass(frozen=True, order=True)
class Version:
    """One version of an object: its name below the reference's key, its key, version id and size in bytes."""

    name: str
    key: str
    id: str
    size: int
    etag: str = ""


class S3Registry:
    """A `reconciler.ports.Registry` and `Files` over S3; copies are kept under `home`."""

    def __init__(self, home: Path) -> None:
        self._downloads = Downloads(home)

    async def resolve(self, ref: Ref, *, kind: str) -> Resolved:
        """Return the digest of what a reference holds; of an index the digest over its objects' versions.

        Raises:
            SluiceError: `REG-001` nothing is there, `REG-002` refused, `REG-003` S3 does not give it, `REG-009`.
        """
        named, text = _named(ref), None
        if kind == LISTED_ALONE:
            found = await asyncio.to_thread(_versions, named)
            versions = digest([[each.name, each.id, each.etag, each.size] for each in found])
            return Resolved(Artifact(str(named), versions), Lineage(source=str(named)))
        if kind == "prompt":
            text = await self._downloads.text(named, lambda part: self._fill(named, part))
        found_digest = await self._downloads.digest(named, kind, lambda part: self._fill(named, part))
        return Resolved(Artifact(str(named), found_digest), await self._downloads.lineage(named, kind), text)

    async def folder(self, artifact: Artifact, *, kind: str) -> Path:
        """Return the copy of what a reference holds.

        Raises:
            SluiceError: what `resolve` raises; `REG-006` it has another digest.
        """
        named = _named(parse_ref(artifact.ref))
        return await self._downloads.folder(named, artifact, kind, lambda part: self._fill(named, part))

    async def mark(self, ref: Ref, alias: str, *, kind: str) -> str | None:
        """Do nothing: objects have no aliases."""
        return None

    async def _fill(self, ref: S3Ref, part: Path) -> None:
        await asyncio.to_thread(_download, ref, part)


def day_of(version_id: str) -> datetime | None:
    """Return the instant at which a dated snapshot ends, in UTC; None where this is the version of one object."""
    try:
        return datetime.strptime(version_id, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except ValueError:
        return None


def as_of(until: datetime, rows: Iterable[Mapping[str, Any]], markers: Iterable[Mapping[str, Any]]) -> Iterator[Any]:
    """Yield of each key the version that was the newest before an instant, unless that was a deletion."""
    newest: dict[str, tuple[datetime, Mapping[str, Any], bool]] = {}
    for deleted, listed in ((False, rows), (True, markers)):
        for row in listed:
            known = newest.get(row["Key"])
            if row["LastModified"] < until and (known is None or known[0] < row["LastModified"]):
                newest[row["Key"]] = (row["LastModified"], row, deleted)
    yield from (row for _, row, deleted in (newest[key] for key in sorted(newest)) if not deleted)


def _versions(ref: S3Ref) -> list[Version]:
    s3, until = client(str(ref)), day_of(ref.version_id)
    with explained(str(ref)):
        if until is None:
            return [_one(s3, ref)]
        if until.timestamp() > time.time():
            raise _nothing(ref, "that day is not over, so what it ends with is not known", "name an earlier day")
        rows, markers, prefix = list[Any](), list[Any](), f"{ref.key.rstrip('/')}/"
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=ref.bucket, Prefix=prefix):
            rows += page.get("Versions", [])
            markers += page.get("DeleteMarkers", [])
    found = [
        Version(row["Key"].removeprefix(prefix), row["Key"], row["VersionId"], row["Size"], row.get("ETag", ""))
        for row in as_of(until, rows, markers)
        if not row["Key"].endswith("/")  # consoles make such an object for a folder
    ]
    if not found:
        raise _nothing(ref, f"no object lay below {prefix} at the end of that day", "correct the key or the day")
    if any(each.id == "null" for each in found):
        raise _nothing(ref, "the bucket keeps no versions, so it may change", "turn on the bucket's versioning")
    return found


def _one(s3: Any, ref: S3Ref) -> Version:
    from botocore.exceptions import ClientError

    try:
        found = s3.head_object(Bucket=ref.bucket, Key=ref.key, VersionId=ref.version_id)
    except ClientError as error:
        # S3 answers 400 to a version id that it has never given, and says no more to a HEAD.
        if absent(error) or str(error.response.get("Error", {}).get("Code", "")) in ("400", "InvalidArgument"):
            do = "correct key and version; a folder is pinned by a day, as in s3://BUCKET/FOLDER@2026-11-20"
            raise _nothing(ref, "the bucket has no such version of such an object", do) from error
        raise
    name = PurePosixPath(ref.key).name
    return Version(name, ref.key, ref.version_id, int(found["ContentLength"]), str(found.get("ETag", "")))


def _download(ref: S3Ref, part: Path) -> None:
    """Download into a folder; names that begin with a dot are no content of a model and stay away."""
    found, s3 = _versions(ref), client(str(ref))
    check_names(str(ref), [each.name for each in found])
    kept = [each for each in found if not any(piece.startswith(".") for piece in each.name.split("/"))]
    for each in kept:
        path = target(ref, part, each.name)
        try:
            with explained(str(ref)):
                s3.download_file(ref.bucket, each.key, str(path), ExtraArgs={"VersionId": each.id})
        except OSError as error:
            raise unstored(ref, part, error) from error
        if path.stat().st_size != each.size:
            raise cut_short(ref, each.name, f"{path.stat().st_size} of {each.size} bytes")
        settle(path)


def _nothing(ref: S3Ref, why: str, do: str) -> SluiceError:
    return SluiceError("REG-001", where=str(ref), what="the reference leads to nothing usable", why=why, do=do)


def _named(ref: Ref) -> S3Ref:
    if not isinstance(ref, S3Ref):
        raise TypeError(f"{ref} is not a reference to S3")
    return ref
