"""Where clients call the endpoints of an environment: an OpenAI client's `base_url`, or a model in KServe's. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from environments.names import Address, sagemaker_endpoint
from environments.spec import EnvironmentSpec, KubernetesRegion, LocalRegion, SageMakerRegion


@dataclass(frozen=True)
class Output:
    """One endpoint's address in a region; without a `url`, `how` says how it is called there."""

    address: Address
    url: str | None
    how: str = ""


def outputs_of(spec: EnvironmentSpec) -> tuple[Output, ...]:
    """Return where every declared endpoint is called, in the order of the file."""
    return tuple(
        _output(spec, Address(spec.environment, region, name))
        for name in spec.endpoints
        for region in spec.regions_of(name)
    )


def urls_of(spec: EnvironmentSpec) -> dict[tuple[str, str], str]:
    """Return `(region, endpoint)` → where clients call it, for those that have an address of their own."""
    return {(each.address.region, each.address.endpoint): each.url for each in outputs_of(spec) if each.url}


def _output(spec: EnvironmentSpec, address: Address) -> Output:
    region, name = spec.regions[address.region], address.endpoint
    below = f"{name}/v2/models/{name}" if spec.endpoints[name].runtime == "triton" else f"{name}/v1"
    match region:
        case LocalRegion(gateway_port=port):
            return Output(address, f"http://127.0.0.1:{port}/{below}")
        case KubernetesRegion():
            domain = spec.infrastructure.domain if spec.infrastructure else None
            if domain:
                return Output(address, f"https://{domain}/{below}")
            cluster = f"the cluster of context {region.context}" if region.context else "its cluster"
            return Output(address, None, f"path /{below} of the gateway in {cluster}")
        case SageMakerRegion():
            return Output(address, None, f"SageMaker endpoint {sagemaker_endpoint(address.environment, name)}")
