"""What a plan says of a region's bucket of models: it lacks one, it cannot be asked, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.core.model.copies import CopiedFile, Manifest
from reconciler.platforms.kubernetes.artifacts import CLAIM, IMAGE, STREAM, Source
from reconciler.platforms.kubernetes.copies import Copies
from tests.unit.kubernetes.made import ADDRESS, DIGEST, place, release

BUCKET = "s3://models/by-digest"
STREAMED = Source(STREAM, f"{BUCKET}/x", "tests")


class Bucket:
    """A bucket that has what it is given, counts who asks, and is silent where there is a problem."""

    def __init__(self, *digests: str, problem: SluiceError | None = None) -> None:
        self.digests, self.problem, self.asked = digests, problem, list[str]()

    def __call__(self, address: str) -> Bucket:
        assert address == BUCKET
        return self

    async def manifest(self, digest: str) -> Manifest | None:
        self.asked.append(digest)
        if self.problem:
            raise self.problem
        return Manifest("file:m", (CopiedFile("config.json", 2, "ab"),)) if digest in self.digests else None


async def said(bucket: Bucket | None, source: Source = STREAMED, **declared: Any) -> list[tuple[str, str, str]]:
    found = await Copies(bucket).lacking(ADDRESS, release(), source, place(model_bucket=BUCKET, **declared))
    return [(remark.code, remark.level, remark.message) for remark in found]


async def test_a_bucket_that_lacks_the_model_denies_with_the_command_that_brings_it() -> None:
    ((code, level, message),) = await said(Bucket())
    assert (code, level) == ("PLAT-029", "deny")
    assert "`sluice models push mlflow:one/1 prod --endpoint chat`" in message


async def test_a_bucket_that_has_it_is_asked_once_and_says_nothing() -> None:
    bucket = Bucket(DIGEST)
    copies = Copies(bucket)
    for _ in range(3):
        assert await copies.lacking(ADDRESS, release(), STREAMED, place(model_bucket=BUCKET)) == ()
    assert bucket.asked == [DIGEST]


async def test_a_bucket_that_is_silent_warns() -> None:
    problem = SluiceError("REG-003", what="there are no credentials for S3", why="none", do="log in to AWS")
    ((code, level, message),) = await said(Bucket(problem=problem))
    assert (code, level) == ("PLAT-029", "warn")
    assert "log in to AWS" in message


@pytest.mark.parametrize("source", [Source(CLAIM, "x", "tests"), Source(IMAGE, "x", "tests")])
async def test_what_is_not_streamed_asks_nobody(source: Source) -> None:
    bucket = Bucket()
    assert await said(bucket, source) == []
    assert await said(None) == []
    assert bucket.asked == []
