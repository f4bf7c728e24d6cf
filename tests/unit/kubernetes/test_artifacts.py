"""How a model gets into a pod is decided by what the server has and what is named, and it says why."""

from __future__ import annotations

from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.core.model.release import Artifact
from reconciler.platforms.kubernetes.artifacts import CLAIM, IMAGE, STREAM, cold_start_s, source_of
from tests.unit.kubernetes.made import DIGEST, MODEL_IMAGE, place

NEW, OLD = (1, 36), (1, 35)
HEX = DIGEST.removeprefix("sha256:")
REF = "mlflow:chat-llm/7"
IMAGES = {"model_images": {REF: MODEL_IMAGE}}
BUCKET = {"model_bucket": "s3://sluice-models/by-digest/"}
TABLE: list[tuple[dict[str, Any], tuple[int, int], str, str, str]] = [
    ({**IMAGES, **BUCKET}, NEW, IMAGE, MODEL_IMAGE, "an OCI image by digest, which Kubernetes 1.36 mounts"),
    ({**IMAGES, **BUCKET}, OLD, STREAM, f"s3://sluice-models/by-digest/{HEX}", "Kubernetes 1.35 mounts no images yet"),
    (BUCKET, NEW, STREAM, f"s3://sluice-models/by-digest/{HEX}", "no OCI image of it is named"),
    (IMAGES, OLD, CLAIM, HEX, "Kubernetes 1.35 mounts no images yet, and it cannot be streamed"),
    ({}, NEW, CLAIM, HEX, "no OCI image of it is named, and it cannot be streamed"),
    ({**IMAGES, **BUCKET, "weights_from": "stream"}, NEW, STREAM, f"s3://sluice-models/by-digest/{HEX}", "asks for it"),
    ({**IMAGES, **BUCKET, "weights_from": "pvc"}, NEW, CLAIM, HEX, "the endpoint asks for it"),
    ({**BUCKET, "runtime": "triton"}, NEW, CLAIM, HEX, "it cannot be streamed"),
]


@pytest.mark.parametrize(("declared", "version", "kind", "where", "why"), TABLE)
def test_the_best_way_that_there_is(
    declared: dict[str, Any], version: tuple[int, int], kind: str, where: str, why: str
) -> None:
    found = source_of(Artifact(REF, DIGEST), place(**declared), version, environment="prod")
    assert (found.kind, found.place) == (kind, where)
    assert why in found.why


REFUSED: list[tuple[dict[str, Any], tuple[int, int], str, str]] = [
    ({**IMAGES, "weights_from": "image_volume"}, OLD, DIGEST, "Kubernetes 1.35 mounts no images yet"),
    ({"weights_from": "image_volume"}, NEW, DIGEST, "no OCI image of it is named"),
    ({"weights_from": "stream"}, NEW, DIGEST, "it lies in no bucket"),
    ({}, NEW, "", "it has no digest"),
]


@pytest.mark.parametrize(("declared", "version", "digest", "why"), REFUSED)
def test_a_way_that_there_is_not_is_refused_with_what_to_do(
    declared: dict[str, Any], version: tuple[int, int], digest: str, why: str
) -> None:
    with pytest.raises(SluiceError) as refused:
        source_of(Artifact(REF, digest), place(**declared), version, environment="prod")
    assert refused.value.code == "PLAT-023"
    assert why in refused.value.problem.why
    assert refused.value.problem.do


def test_an_object_in_a_bucket_of_ours_is_streamed_from_the_regions_copy() -> None:
    ref = "s3://sluice-models-prod-eu-central-1-111122223333/chat@VERSION"
    found = source_of(Artifact(ref, DIGEST), place(region="us-east-1"), NEW, environment="prod")
    assert found.place == "s3://sluice-models-prod-us-east-1-111122223333/chat"


def test_adapters_are_never_streamed() -> None:
    asked = place(**BUCKET, weights_from="stream")
    assert source_of(Artifact(REF, DIGEST), asked, NEW, environment="prod", streams=False).kind == CLAIM


def test_what_moves_slowly_starts_slowly() -> None:
    ways = [source_of(Artifact(REF, DIGEST), place(**d), NEW, environment="prod") for d in (BUCKET, IMAGES, {})]
    taken = [cold_start_s(place(), way) for way in ways]
    assert taken == sorted(taken)
    assert taken[0] > 90
