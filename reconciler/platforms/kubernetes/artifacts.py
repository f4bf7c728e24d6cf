"""How a model gets into a pod: an OCI image, streamed from S3, or a claim; which of these, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from environments.errors import SluiceError
from environments.names import MODEL_CLAIM, regional_bucket
from environments.refs import S3Ref, parse_ref
from reconciler.core.model.release import Artifact
from reconciler.platforms.kubernetes.placement import Placement

IMAGE_VOLUMES_SINCE = (1, 36)
"""Image volumes are locked on from here. Source: kube_features.go of Kubernetes 1.36."""
IMAGE, STREAM, CLAIM = "image_volume", "stream", "pvc"
_GIB_PER_S = {IMAGE: 0.3, STREAM: 1.0, CLAIM: 0.2}
"""What a first start moves a second: a pull that is unpacked, a streamer with sixteen readers, a network disk."""
_ENGINE_S = 90.0
"""What an engine takes for itself once it has its weights: compilation, profiling, CUDA graphs."""


@dataclass(frozen=True)
class Source:
    """Where one artifact comes from.

    `kind` is `image_volume`, `stream` or `pvc`; `place` the image, the address or the folder in the claim. `why` is a
    sentence for the plan.
    """

    kind: str
    place: str
    why: str

    @property
    def mounted(self) -> bool:
        """Return whether the artifact is a volume of the pod."""
        return self.kind != STREAM


def source_of(
    artifact: Artifact, place: Placement, version: tuple[int, int], *, environment: str, streams: bool = True
) -> Source:
    """Return how an artifact gets into a pod: as the endpoint asks, else the best that the server has.

    `version` is the API server's; `streams` is False for what the runtime cannot stream, such as adapters.

    Raises:
        SluiceError: `PLAT-023` it cannot come in the way that the endpoint asks for, or in no way.
    """
    image = place.model_images.get(artifact.ref)
    new_enough, told = version >= IMAGE_VOLUMES_SINCE, f"{version[0]}.{version[1]}"
    address = _address(artifact, place, environment) if streams and place.runtime == "vllm" else None
    asked = place.weights_from if streams or place.weights_from != STREAM else None
    if image and new_enough and asked in (None, IMAGE):
        return Source(IMAGE, image, f"an OCI image by digest, which Kubernetes {told} mounts")
    if asked == IMAGE:
        raise _refused(artifact, _no_image(image, told), "add it to the region's `model_images`, or ask for `stream`")
    if address and asked in (None, STREAM):
        passed_over = _no_image(image, told) if asked is None else "the endpoint asks for it"
        return Source(STREAM, address, f"streamed from S3 ({passed_over})")
    if asked == STREAM:
        do = "name the region's `model_bucket` with a copy of the model, or ask for `pvc`"
        raise _refused(artifact, "it lies in no bucket that servers could stream it from", do)
    if not artifact.digest:
        raise _refused(artifact, "it has no digest, so nobody knows its folder in the claim", "use another reference")
    why = "the endpoint asks for it" if asked == CLAIM else f"{_no_image(image, told)}, and it cannot be streamed"
    return Source(CLAIM, artifact.digest.removeprefix("sha256:"), f"from the claim {MODEL_CLAIM} ({why})")


def cold_start_s(place: Placement, source: Source) -> float:
    """Return how long a server takes to its first answer on a machine that has nothing, at most about.

    Nobody has told the size of the weights, so they are taken to fill the GPUs' memory.
    """
    vram_gib = place.pool.vram_gib * place.gpus if place.pool else 8
    return _ENGINE_S + vram_gib / _GIB_PER_S[source.kind]


def _no_image(image: str | None, version: str) -> str:
    return f"Kubernetes {version} mounts no images yet" if image else "no OCI image of it is named"


def _address(artifact: Artifact, place: Placement, environment: str) -> str | None:
    """Return the S3 address of an artifact's folder in this region, None where it lies in no bucket."""
    ref = parse_ref(artifact.ref)
    if isinstance(ref, S3Ref):
        return f"s3://{regional_bucket(ref.bucket, environment, place.region)}/{ref.key}"
    if place.model_bucket and artifact.digest:
        return f"{place.model_bucket.rstrip('/')}/{artifact.digest.removeprefix('sha256:')}"
    return None


def _refused(artifact: Artifact, why: str, do: str) -> SluiceError:
    return SluiceError("PLAT-023", where=artifact.ref, what="it cannot be brought into a pod", why=why, do=do)
