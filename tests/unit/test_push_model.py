"""Which buckets a model is copied into, and as what it is resolved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.spec import EnvironmentSpec
from reconciler.core.model.release import Artifact, Lineage
from reconciler.operations.push_model import Bucket, Push, buckets_of, kind_of, model_ref
from reconciler.ports import Pushed, Resolved
from tests.support.kubernetes.world import declared


def spec(**buckets: str | None) -> EnvironmentSpec:
    """Return an environment with a cluster for each bucket; chat runs in all of them."""
    found = declared("t")
    place = found["regions"].pop("local")
    found["regions"] = {name: place | {"model_bucket": bucket} for name, bucket in buckets.items()}
    return EnvironmentSpec.model_validate(found)


def test_every_region_that_names_a_bucket() -> None:
    here = spec(east="s3://east/x", west="s3://west", north=None)
    assert buckets_of(here, (), ()) == (Bucket("east", "s3://east/x"), Bucket("west", "s3://west"))
    assert buckets_of(here, ("chat",), ("west",)) == (Bucket("west", "s3://west"),)


def test_no_region_that_takes_copies_is_said_with_what_to_write() -> None:
    with pytest.raises(SluiceError) as refused:
        buckets_of(spec(north=None, east="s3://east"), (), ("north",))
    assert refused.value.code == "REG-007"
    assert "model_bucket" in refused.value.problem.do


@pytest.mark.parametrize(("endpoints", "regions"), [(("chta",), ()), ((), ("eats",))])
def test_what_is_not_declared_is_named_with_the_nearest(endpoints: tuple[str, ...], regions: tuple[str, ...]) -> None:
    with pytest.raises(SluiceError, match="PLAN-004") as refused:
        buckets_of(spec(east="s3://east"), endpoints, regions)
    assert "nearest" in refused.value.problem.do


def test_a_reference_that_is_none_is_refused() -> None:
    with pytest.raises(SluiceError, match="CLI-002"):
        model_ref("mlflow:chat/latest")


def test_a_model_of_triton_is_resolved_as_what_triton_serves() -> None:
    here = spec(east="s3://east")
    other = here.endpoints["other"].model_copy(update={"runtime": "triton"})
    mixed = here.model_copy(update={"endpoints": {**here.endpoints, "other": other}})
    ref = model_ref("mlflow:one/1")
    assert kind_of(here, ref, ()) == "model"
    assert kind_of(mixed, ref, ("other",)) == "repository"
    assert kind_of(mixed, ref, ()) == "model"
    assert kind_of(mixed, model_ref("mlflow:elsewhere/1"), ()) == "model"


class World:
    """A registry, the files of this machine, and buckets, which note what they are asked."""

    def __init__(self) -> None:
        self.pushed: list[str] = []

    async def resolve(self, ref: Any, *, kind: str) -> Resolved:
        return Resolved(Artifact(str(ref), "sha256:ab"), Lineage())

    async def folder(self, artifact: Artifact, *, kind: str) -> Path:
        return Path("/models") / artifact.digest

    def bucket_at(self, address: str) -> Any:
        world = self

        class There:
            async def push(self, artifact: Artifact, folder: Path, *, told: Callable[[str, int], None]) -> Pushed:
                world.pushed.append(address)
                told("config.json", 2)
                return Pushed(f"{address}/ab/", 1, 2, 1, 2)

        return There()


async def test_a_bucket_that_regions_share_is_written_once_and_told_for_both() -> None:
    world, told = World(), list[tuple[str, str, int]]()
    buckets = [Bucket("east", "s3://one"), Bucket("north", "s3://one"), Bucket("west", "s3://two")]
    work: Any = Push(world, world, world.bucket_at)  # type: ignore[arg-type]
    found = await work.run(model_ref("mlflow:one/1"), "model", buckets, lambda *each: told.append(each))
    assert world.pushed == ["s3://one", "s3://two"]
    assert [copied.region for copied in found] == ["east", "north", "west"]
    assert told == [("east", "config.json", 2), ("west", "config.json", 2)]
