"""Clusters whose values the charts are tried with: with everything, with nothing, and with copies of images."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from components.addons import told
from components.chart_values import ClusterFacts
from environments.infrastructure import SingleSignOnSpec
from environments.names import cache_registry
from environments.upstreams import UPSTREAMS

FULL = ClusterFacts(
    environment="prod",
    region="eu-central-1",
    cluster_name="sluice-prod-eu-central-1",
    endpoint="https://example.eks.amazonaws.com",
    queue="sluice-prod-eu-central-1",
    replicas=2,
    rate_store="store.example:6379",
    domains=("models.example.com", "prod.sluice.internal"),
    sign_on=SingleSignOnSpec(issuer="https://id.example.com", client_id="sluice"),
    grafana_host="grafana.models.example.com",
    other_prometheus={"us-east-1": "http://prometheus.us-east-1.prod.sluice.internal:9090"},
)
BARE = ClusterFacts("dev", "eu-central-1", "sluice-dev-eu-central-1", "https://e", "queue", replicas=1, domains=("d",))
SAMPLES = (FULL, BARE)
REGISTRIES = {u.host: cache_registry(FULL.environment, FULL.region, "111122223333", u.name) for u in UPSTREAMS}
COPIED = dataclasses.replace(FULL, registries=REGISTRIES)


def values(chart: str, facts: ClusterFacts) -> dict[str, Any]:
    """Return what a cluster of a sample tells a chart."""
    found: dict[str, Any] = json.loads(json.dumps(told(chart, facts)))
    return found


def digest(chart: str) -> str:
    """Return a digest of everything that a chart is told: recorded facts hold for these values alone."""
    everything = [values(chart, facts) for facts in (*SAMPLES, COPIED)]
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:16]
