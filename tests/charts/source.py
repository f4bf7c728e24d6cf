"""Where each chart's own files are: in a published Go module, or read once and recorded beside this file."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.builds.catalog import built
from tests.support.lifeline import missing

# Placeholders that Envoy Gateway's own release fills in.
_FILLED = {"GatewayImage": "docker.io/envoyproxy/gateway:v1.9.0", "GatewayImagePullPolicy": "IfNotPresent"}
UNRELEASED = "0.1.0"
# What a chart's template prints whole, or reads without a default: any key may stand below it.
FREE: Mapping[str, tuple[str, ...]] = {
    "envoy-gateway": ("config.envoyGateway",),
    "dcgm-exporter": ("customMetrics",),
    "lws": ("podSecurityContext",),
    "monitoring": ("grafana.grafana.ini",),
}
# A chart, the sets of CRDs that it brings, and those that must be there before it.
BRINGS: Mapping[str, tuple[str, ...]] = {
    "monitoring": ("prometheus-operator",),
    "envoy-gateway": ("gateway-api", "envoy-gateway"),
    "keda": ("keda",),
    "cert-manager": ("cert-manager",),
    "karpenter-crd": ("karpenter",),
    "external-secrets": ("external-secrets",),
}
USES: Mapping[str, tuple[str, ...]] = {
    "cert-manager": ("gateway.networking.k8s.io/v1/Gateway",),
    "karpenter": ("karpenter.sh/v1/NodePool",),
    "external-dns": ("monitoring.coreos.com/v1/ServiceMonitor",),
    "dcgm-exporter": ("monitoring.coreos.com/v1/ServiceMonitor",),
    "opencost": ("monitoring.coreos.com/v1/ServiceMonitor",),
}


def folder(name: str) -> Path | None:
    """Return the folder of a chart out of a Go module; None for one that no registry here has."""
    from tests.builds.catalog import engine

    if not any(files.into == f"share/charts/{name}" for files in engine("charts").files):
        return None
    found = built() / "share" / "charts" / name
    return found if found.exists() else missing("the charts are not built", "run `python -m tests.builds.build charts`")


@functools.lru_cache
def prepared(name: str, into: Path) -> Path:
    """Return a copy of a chart that helm takes as it is: placeholders of its release filled in."""
    source = folder(name)
    if source is None:
        raise LookupError(f"{name} is no chart of a Go module")
    target = into / name
    shutil.copytree(source, target)
    template = target / "values.tmpl.yaml"
    if template.exists():
        text = re.sub(r"\$\{(\w+)\}", lambda found: _FILLED[found[1]], template.read_text())
        (target / "values.yaml").write_text(text)
    _without_absent_charts(target)
    return target


def _without_absent_charts(chart: Path) -> None:
    """Drop charts inside a chart that are not there: optional ones, which `helm package` would fetch."""
    file = chart / "Chart.yaml"
    declared = yaml.safe_load(file.read_text())
    there = {inner.name for inner in (chart / "charts").glob("*")}
    kept = [inner for inner in declared.get("dependencies", []) if inner["name"] in there]
    file.write_text(yaml.safe_dump({**declared, "dependencies": kept}))


def defaults(chart: Path) -> dict[str, Any]:
    """Return a chart's values with those of the charts inside it, under their names."""
    values: dict[str, Any] = yaml.safe_load((chart / "values.yaml").read_text()) or {}
    for inner in sorted((chart / "charts").glob("*/values.yaml")):
        name = inner.parent.name
        values[name] = _over(yaml.safe_load(inner.read_text()) or {}, values.get(name) or {})
    return values


def _over(base: Any, given: Any) -> Any:
    if isinstance(base, dict) and isinstance(given, dict):
        return {**base, **{key: _over(base.get(key), value) for key, value in given.items()}}
    return given


def paths(values: Any, prefix: str = "") -> dict[str, str]:
    """Return every path of a chart's values with its kind; what stands under an empty map or list is free."""
    if isinstance(values, dict) and values:
        found = {prefix: "map"} if prefix else {}
        for key, inner in values.items():
            found |= paths(inner, f"{prefix}.{key}" if prefix else str(key))
        return found
    kind = "open" if values in (None, {}, []) else "list" if isinstance(values, list) else "value"
    return {prefix: kind}


def unknown(values: Any, known: Mapping[str, str], prefix: str = "", *, free: tuple[str, ...] = ()) -> list[str]:
    """Return the paths of our values that a chart does not have; what it leaves open, or is `free`, takes anything."""
    if prefix and (known.get(prefix) in ("open", "list") or prefix in free):
        return []
    if prefix and prefix not in known:
        return [prefix]
    if not isinstance(values, Mapping):
        return []
    inner = {f"{prefix}.{key}" if prefix else str(key): value for key, value in values.items()}
    return [found for path, value in inner.items() for found in unknown(value, known, path, free=free)]
