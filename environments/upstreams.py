"""The registries that Amazon ECR copies images from, by the names that AWS has for them. Pure data.

Source: Amazon ECR user guide, "Sync an upstream registry with an Amazon ECR private registry"
(https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache.html), and API reference,
"CreatePullThroughCacheRule"; read on 2026-11-30. NVIDIA's nvcr.io is not among its registries; those that are, and from
which no chart of ours pulls, are left out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SECRET_PREFIX = "ecr-pullthroughcache/"
"""What AWS wants the name of a secret with a sign-in to begin with; ECR's own role reads no other secret."""


@dataclass(frozen=True)
class Upstream:
    """A registry as images name it (`host`) and as a rule of ECR does (`url`).

    `name` is what the names of copies begin with. `secret` is the key of `infrastructure.image_cache` that names its
    sign-in; None where AWS wants none.
    """

    host: str
    url: str
    name: str
    secret: str | None = None


UPSTREAMS = (
    Upstream("docker.io", "registry-1.docker.io", "docker-hub", "docker_hub"),
    Upstream("ghcr.io", "ghcr.io", "github", "github"),
    Upstream("public.ecr.aws", "public.ecr.aws", "ecr-public"),
    Upstream("quay.io", "quay.io", "quay"),
    Upstream("registry.k8s.io", "registry.k8s.io", "kubernetes"),
)


def cached(secrets: Mapping[str, str | None]) -> dict[Upstream, str | None]:
    """Return the registries that are copied from, each with the name of its secret: all that need none or have one."""
    named = {upstream: secrets.get(upstream.secret) if upstream.secret else None for upstream in UPSTREAMS}
    return {upstream: secret for upstream, secret in named.items() if secret or not upstream.secret}
