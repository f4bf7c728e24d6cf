"""The names that stacks and reconciler share: addresses, clusters, namespaces, objects, clusters of a gateway.

Pure. The two halves of the product meet nowhere else, so a name is spelled here or not at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SLOTS = ("a", "b")
FIELD_MANAGER = "sluice"
LABEL_PREFIX = "sluice.dev"
SLOT_HEADER = "x-sluice-slot"
RELEASE_HEADER = "x-sluice-release"
NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
REGION = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True, order=True)
class Address:
    """Where an endpoint lives: environment, region, endpoint. Its text is `prod/eu-west-1/chat`."""

    environment: str
    region: str
    endpoint: str

    def __str__(self) -> str:
        return f"{self.environment}/{self.region}/{self.endpoint}"


def parse_address(text: str) -> Address:
    """Return the address that `environment/region/endpoint` spells.

    Raises:
        ValueError: not three parts.
    """
    match text.split("/"):
        case [environment, region, endpoint] if environment and region and endpoint:
            return Address(environment, region, endpoint)
    raise ValueError(f'"{text}" is not an address; expected ENVIRONMENT/REGION/ENDPOINT')


def cluster_name(environment: str, region: str) -> str:
    """Return the name of the Kubernetes cluster of one region."""
    return f"sluice-{environment}-{region}"


def namespace(environment: str, team: str) -> str:
    """Return the Kubernetes namespace of one team's endpoints."""
    return f"{team}-{environment}"


def slot_object(endpoint: str, slot: str) -> str:
    """Return the name that a slot's Deployment, Service and other objects share."""
    return f"{endpoint}-{slot}"


def route_name(endpoint: str) -> str:
    """Return the name of an endpoint's HTTPRoute, which the reconciler owns whole."""
    return endpoint


def gateway_name(environment: str) -> str:
    """Return the name of the Gateway of an environment, one in each cluster."""
    return f"sluice-{environment}"


def sagemaker_endpoint(environment: str, endpoint: str) -> str:
    """Return the name of a SageMaker endpoint; unique in an account's region."""
    return f"sluice-{environment}-{endpoint}"
