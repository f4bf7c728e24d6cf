"""Copy a model into the buckets that the servers of an environment stream from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from environments.errors import SluiceError
from environments.refs import Ref, parse_ref
from environments.spec import EnvironmentSpec, KubernetesRegion
from reconciler.core.model.release import kind_of_model
from reconciler.core.plan.plan import Scope
from reconciler.planning.planner import check_scope
from reconciler.ports import CopiesWriter, Files, Pushed, Registry


@dataclass(frozen=True)
class Bucket:
    """Where one region's servers stream models from."""

    region: str
    address: str


@dataclass(frozen=True)
class Copied:
    """A model in one region, and what was sent for it now."""

    region: str
    digest: str
    pushed: Pushed


@dataclass(frozen=True)
class Push:
    """Copies models with a registry that resolves, files of this machine, and buckets by their address."""

    registry: Registry
    files: Files
    bucket_at: Callable[[str], CopiesWriter]

    async def run(
        self, ref: Ref, kind: str, buckets: Sequence[Bucket], told: Callable[[str, str, int], None]
    ) -> tuple[Copied, ...]:
        """Copy the model into every bucket, one after another; a bucket that several regions share is written once.

        `told` hears region, file and how many more bytes of it have been sent.

        Raises:
            SluiceError: `REG-…`: what cannot be resolved, read or written.
        """
        artifact = (await self.registry.resolve(ref, kind=kind)).artifact
        folder = await self.files.folder(artifact, kind=kind)
        done: dict[str, Pushed] = {}
        for bucket in buckets:
            if bucket.address not in done:

                def tell(name: str, sent: int, region: str = bucket.region) -> None:
                    told(region, name, sent)

                done[bucket.address] = await self.bucket_at(bucket.address).push(artifact, folder, told=tell)
        return tuple(Copied(bucket.region, artifact.digest, done[bucket.address]) for bucket in buckets)


def model_ref(text: str) -> Ref:
    """Return the reference that a person wrote.

    Raises:
        SluiceError: `CLI-002` it is none.
    """
    try:
        return parse_ref(text)
    except ValueError as error:
        raise SluiceError("CLI-002", what=str(error), do="sluice models push --help") from error


def kind_of(spec: EnvironmentSpec, ref: Ref, endpoints: Collection[str]) -> str:
    """Return as what a registry is to know the model: by the runtime of the endpoints that are meant or declare it."""
    declaring = [name for name, each in spec.endpoints.items() if each.release.model == str(ref)]
    runtimes = {spec.endpoints[name].runtime for name in endpoints or declaring}
    return kind_of_model(runtimes.pop()) if len(runtimes) == 1 else "model"


def buckets_of(spec: EnvironmentSpec, endpoints: Collection[str], regions: Collection[str]) -> tuple[Bucket, ...]:
    """Return the buckets of the regions that are meant: where the endpoints run; without any, every region.

    Raises:
        SluiceError: `PLAN-004` an endpoint or region is not declared; `REG-007` none of the regions names a bucket.
    """
    check_scope(spec, Scope(tuple(endpoints), tuple(regions)))
    reached = {region for name in endpoints for region in spec.regions_of(name)} or set(spec.regions)
    meant = sorted(region for region in reached if not regions or region in regions)
    found = [
        Bucket(name, place.model_bucket)
        for name in meant
        if isinstance(place := spec.regions[name], KubernetesRegion) and place.model_bucket
    ]
    if not found:
        raise SluiceError(
            "REG-007",
            where=spec.environment,
            what="no region takes copies of models",
            why=f"none of {', '.join(meant) or 'the regions'} has a `model_bucket`",
            do=f"add model_bucket: s3://BUCKET/PREFIX to a region in environments/{spec.environment}.yaml",
        )
    return tuple(found)
