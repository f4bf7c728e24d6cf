"""The desired state: which release each endpoint should serve in each region, and how it gets there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from environments.names import Address
from environments.spec import EndpointSpec, EnvironmentSpec, ReleaseSpec
from reconciler.core.model.release import Artifact, Lineage, Release, kind_of_model
from reconciler.core.model.settings import RolloutSettings, settings_of


@dataclass(frozen=True)
class DesiredEndpoint:
    """One endpoint in one region. `wave` counts from 0; `gpus` is what one slot needs at its smallest."""

    address: Address
    wave: int
    release: Release
    settings: RolloutSettings
    team: str
    pool: str | None
    gpus: int
    replicas: int = 1


@dataclass(frozen=True)
class DesiredState:
    """All endpoints of an environment, sorted by address."""

    environment: str
    endpoints: tuple[DesiredEndpoint, ...]

    def endpoint(self, address: Address) -> DesiredEndpoint | None:
        """Return what is desired at an address."""
        return next((e for e in self.endpoints if e.address == address), None)


@dataclass(frozen=True)
class ResolvedRef:
    """What a registry said of one reference of a release."""

    artifact: Artifact
    lineage: Lineage
    text: str | None = None


def references(release: ReleaseSpec, runtime: str = "vllm") -> tuple[tuple[str, str, str], ...]:
    """Return `(path, kind, reference)` of everything in a release that a registry must resolve, sorted by path."""
    found = [("model", kind_of_model(runtime), release.model)]
    found += [(f"prompts.{name}", "prompt", ref) for name, ref in release.prompts.items()]
    found += [(f"adapters.{name}", "adapter", ref) for name, ref in release.adapters.items()]
    if release.index:
        found.append(("index", "index", release.index.ref))
    if release.guardrails:
        found.append(("guardrails", "guardrails", release.guardrails.ref))
    return tuple(sorted(found))


def release_of(name: str, endpoint: EndpointSpec, resolved: Mapping[str, ResolvedRef]) -> Release:
    """Return the release that an endpoint declares; `resolved` is keyed by the paths of `references`."""
    spec = endpoint.release
    index = None
    if spec.index:
        index = {
            "ref": spec.index.ref,
            "digest": resolved["index"].artifact.digest,
            "built_at": spec.index.built_at.isoformat(),
            "max_age_h": spec.index.max_age_h,
        }
    return Release(
        endpoint=name,
        runtime=endpoint.runtime,
        model=resolved["model"].artifact,
        engine=dict(sorted(spec.engine.items())),
        prompts={key: resolved[f"prompts.{key}"].artifact for key in sorted(spec.prompts)},
        adapters={key: resolved[f"adapters.{key}"].artifact for key in sorted(spec.adapters)},
        index=index,
        guardrails=resolved["guardrails"].artifact if spec.guardrails else None,
        lineage={path: found.lineage for path, found in sorted(resolved.items())},
        prompt_texts={key: resolved[f"prompts.{key}"].text or "" for key in sorted(spec.prompts)},
    )


def desired_state(spec: EnvironmentSpec, releases: Mapping[str, Release]) -> DesiredState:
    """Return the desired state; `releases` is keyed by endpoint and may leave out endpoints that are not asked for."""
    wave_of = {region: wave for wave, regions in enumerate(spec.wave_list()) for region in regions}
    endpoints = [
        DesiredEndpoint(
            address=Address(spec.environment, region, name),
            wave=wave_of[region],
            release=releases[name],
            settings=settings_of(endpoint),
            team=endpoint.team,
            pool=endpoint.pool,
            gpus=endpoint.replicas.min * endpoint.gpus_per_replica,
        )
        for name, endpoint in spec.endpoints.items()
        if name in releases
        for region in spec.regions_of(name)
    ]
    return DesiredState(spec.environment, tuple(sorted(endpoints, key=lambda e: e.address)))
