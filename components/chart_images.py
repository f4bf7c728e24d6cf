"""Where each chart's values name its images, so that a cluster can pull copies of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.charts import ENVOY_GATEWAY

# The image that Envoy Gateway starts for a Gateway; our EnvoyProxy names it, because it takes nothing from the chart.
PROXY = "docker.io/envoyproxy/envoy"
# A registry's host, or an image that begins with one. What stays a chart's own (tags, digests, names) is not repeated:
# Envoy Gateway alone has no value for the place without the tag, which is its chart's version.
IMAGES: Mapping[str, Mapping[str, str]] = {
    "karpenter": {"controller.image.repository": "public.ecr.aws/karpenter/controller"},
    "external-secrets": {
        f"{part}image.repository": "ghcr.io/external-secrets/external-secrets"
        for part in ("", "webhook.", "certController.")
    },
    "monitoring": {
        "prometheusOperator.image.registry": "quay.io",
        "prometheusOperator.prometheusConfigReloader.image.registry": "quay.io",
        "prometheusOperator.thanosImage.registry": "quay.io",
        "prometheusOperator.admissionWebhooks.patch.image.registry": "ghcr.io",
        "prometheus.prometheusSpec.image.registry": "quay.io",
        "alertmanager.alertmanagerSpec.image.registry": "quay.io",
        "grafana.image.registry": "docker.io",
        "grafana.sidecar.image.registry": "quay.io",
        "kube-state-metrics.image.registry": "registry.k8s.io",
        "prometheus-node-exporter.image.registry": "quay.io",
    },
    "envoy-gateway": {
        "global.images.envoyGateway.image": f"docker.io/envoyproxy/gateway:v{ENVOY_GATEWAY.version}",
        "global.images.ratelimit.image": "docker.io/envoyproxy/ratelimit",
    },
    "keda": {f"image.{part}.registry": "ghcr.io" for part in ("keda", "metricsApiServer", "webhooks")},
    "cert-manager": {"imageRegistry": "quay.io"},
    "external-dns": {"image.repository": "registry.k8s.io/external-dns/external-dns"},
    "lws": {"image.manager.repository": "registry.k8s.io/lws/lws"},
    "opencost": {"opencost.exporter.image.registry": "ghcr.io"},
}


def copy_of(image: str, registries: Mapping[str, str]) -> str | None:
    """Return where the copy of an image (or of a whole registry) is; None where its registry has none."""
    host, slash, name = image.partition("/")
    return f"{registries[host]}{slash}{name}" if host in registries else None


def through_cache(chart: str, values: Mapping[str, Any], registries: Mapping[str, str]) -> Mapping[str, Any]:
    """Return a chart's values with copies in place of its images; as they are where no registry has any."""
    for path, image in IMAGES.get(chart, {}).items():
        if (copy := copy_of(image, registries)) is not None:
            values = _put(values, path.split("."), copy)
    return values


def _put(values: Mapping[str, Any], path: list[str], value: str) -> Mapping[str, Any]:
    """Return values with one more at a path, and everything beside it as it was."""
    name, *rest = path
    return {**values, name: _put(values.get(name) or {}, rest, value) if rest else value}
