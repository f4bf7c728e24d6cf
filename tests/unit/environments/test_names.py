"""Copies of models and images in another region: found by name, and nothing of anybody else's touched."""

from __future__ import annotations

import pytest

from environments.names import model_bucket, regional_bucket, regional_image

HOME = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/sluice/prod/vllm@sha256:ab"


@pytest.mark.parametrize(
    ("image", "there"),
    [
        (HOME, "111122223333.dkr.ecr.us-east-1.amazonaws.com/sluice/prod/vllm@sha256:ab"),
        ("nvcr.io/nvidia/tritonserver@sha256:ab", "nvcr.io/nvidia/tritonserver@sha256:ab"),
    ],
)
def test_an_image_is_pulled_from_the_regions_own_registry(image: str, there: str) -> None:
    assert regional_image(image, "us-east-1") == there


@pytest.mark.parametrize(
    "bucket", ["datasets", "sluice-models-staging-eu-central-1-111122223333", "sluice-models-prod-x"]
)
def test_only_a_bucket_of_this_environments_stacks_has_copies(bucket: str) -> None:
    assert regional_bucket(bucket, "prod", "us-east-1") == bucket


def test_a_model_is_read_from_the_regions_copy() -> None:
    home = model_bucket("prod", "eu-central-1", "111122223333")
    assert regional_bucket(home, "prod", "us-east-1") == model_bucket("prod", "us-east-1", "111122223333")
