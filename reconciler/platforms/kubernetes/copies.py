"""Says before a start that a region's bucket does not hold the model that servers would stream from it."""

from __future__ import annotations

from environments.errors import SluiceError
from environments.names import Address
from reconciler.core.model.release import Release
from reconciler.platforms.kubernetes.artifacts import STREAM, Source
from reconciler.platforms.kubernetes.placement import Placement
from reconciler.ports import CopiesAt, CopiesReader, Remark

CODE = "PLAT-029"


class Copies:
    """The buckets of one region; what lies whole in one stays there, so that is asked once."""

    def __init__(self, at: CopiesAt | None) -> None:
        self._at = at
        self._readers: dict[str, CopiesReader] = {}
        self._known: set[tuple[str, str]] = set()

    async def lacking(self, address: Address, release: Release, source: Source, place: Placement) -> tuple[Remark, ...]:
        """Return what a plan says of a model that is to be streamed and is not there, or of a bucket that is silent."""
        bucket, digest = place.model_bucket, release.model.digest
        if self._at is None or not bucket or source.kind != STREAM or release.model.ref.startswith("s3:"):
            return ()
        if (bucket, digest) in self._known:
            return ()
        reader = self._readers.setdefault(bucket, self._at(bucket))
        try:
            found = await reader.manifest(digest)
        except SluiceError as error:
            p = error.problem
            said = f"whether {bucket} holds the model is not known: {p.what} ({p.why}); {p.do}"
            return (Remark(CODE, "warn", said),)
        if found is not None:
            self._known.add((bucket, digest))
            return ()
        push = f"sluice models push {release.model.ref} {address.environment} --endpoint {address.endpoint}"
        return (Remark(CODE, "deny", f"{bucket} does not hold the model {digest} whole; run `{push}`"),)
