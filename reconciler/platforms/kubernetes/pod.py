"""The pod of a slot's server: image, command, probes, limits, security and how it ends. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from environments.names import (
    GPU_RESOURCE,
    GPU_TAINT,
    MODEL_CLAIM,
    POOL_LABEL,
    SLOT_PORT,
    SLOT_PORT_NAME,
    service_account,
)
from reconciler.core.canonical import Json
from reconciler.core.model.release import Release
from reconciler.platforms.kubernetes.artifacts import IMAGE, STREAM, Source, cold_start_s
from reconciler.platforms.kubernetes.placement import Placement
from reconciler.ports import ServerOptions

USER_ID = 10001
PRESTOP_S = 15
"""How long a pod that is to end still answers: gateways take a moment to hear that it is no endpoint any more."""
MARGIN_S = 30
PROBE_S = 10
MODELS = "/models"
HOME = "/home/sluice"
_COMMANDS: Mapping[str, tuple[str, ...]] = {"vllm": ("vllm", "serve")}
_HEALTH: Mapping[str, str] = {"vllm": "/health"}
_SERVES = (
    "import json, sys, urllib.request as r; "
    f"served = json.load(r.urlopen('http://127.0.0.1:{SLOT_PORT}/v1/models', timeout=4))['data']; "
    "sys.exit(not set(sys.argv[1:]) <= {m['id'] for m in served})"
)
"""Ready means that it serves this release's names: `/health` says only that the engine lives."""


@dataclass(frozen=True)
class Brought:
    """A release with what brings its artifacts into a pod, keyed as its lineage is: `model`, `adapters.NAME`."""

    release: Release
    sources: Mapping[str, Source]

    def paths(self) -> dict[str, str]:
        """Return where the server finds each artifact."""
        return {key: _path(key, source) for key, source in self.sources.items()}


def drain_s(release: Release, place: Placement) -> int:
    """Return how long a server may finish what is in flight, in seconds."""
    asked = release.engine.get("shutdown_timeout", place.drain_s)
    return int(asked) if isinstance(asked, int | float) else place.drain_s


def grace_s(release: Release, place: Placement) -> int:
    """Return a pod's time to end: the pause before SIGTERM, the drain, and a margin."""
    return PRESTOP_S + drain_s(release, place) + MARGIN_S


def startup_s(brought: Brought, place: Placement) -> float:
    """Return how long a server may take to start before it is restarted: twice what is expected, at the least."""
    return max(place.start_timeout_s, 2 * cold_start_s(place, brought.sources["model"]))


def server_arguments(brought: Brought, options: ServerOptions, place: Placement) -> tuple[str, ...]:
    """Return a server's arguments: the runtime's own, and how it ends and loads in a pod."""
    extra: tuple[str, ...] = ()
    release = brought.release
    if release.runtime == "vllm" and "shutdown_timeout" not in release.engine:
        extra += ("--shutdown-timeout", str(place.drain_s))
    if brought.sources["model"].kind == STREAM and "load_format" not in release.engine:
        extra += ("--load-format", "runai_streamer")
    return (*options.arguments, *extra)


def pod_spec(
    brought: Brought, options: ServerOptions, place: Placement, *, labels: Mapping[str, str], endpoint: str
) -> Json:
    """Return the pod of one server; `labels` are those by which its slot's servers are spread."""
    spec: Json = {
        "serviceAccountName": service_account(endpoint),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_s(brought.release, place),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": dict(labels)},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        "containers": [_container(brought, options, place)],
        "volumes": [*_volumes(brought), {"name": "home", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}, _SHM],
    }
    if place.pool_name:
        spec["nodeSelector"] = {POOL_LABEL: place.pool_name}
    if place.gpus:
        spec["tolerations"] = [{"key": GPU_TAINT, "operator": "Exists", "effect": "NoSchedule"}]
    return spec


_SHM: Mapping[str, Any] = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}


def _container(brought: Brought, options: ServerOptions, place: Placement) -> Json:
    release, runtime = brought.release, brought.release.runtime
    health = {"path": _HEALTH[runtime], "port": SLOT_PORT_NAME}
    return {
        "name": "server",
        "image": place.image,
        "command": list(_COMMANDS[runtime]),
        "args": list(server_arguments(brought, options, place)),
        "env": _variables(options, place),
        "ports": [{"name": SLOT_PORT_NAME, "containerPort": SLOT_PORT}],
        "resources": _resources(place),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            *_mounts(brought),
            {"name": "home", "mountPath": HOME},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
        "startupProbe": {
            "httpGet": health,
            "periodSeconds": PROBE_S,
            "timeoutSeconds": 5,
            "failureThreshold": math.ceil(startup_s(brought, place) / PROBE_S),
        },
        "readinessProbe": _readiness(release, health) | {"periodSeconds": 5, "timeoutSeconds": 5},
        "livenessProbe": {"httpGet": health, "periodSeconds": PROBE_S, "timeoutSeconds": 10, "failureThreshold": 6},
        # vLLM writes no message when it dies: the end of its log is one.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "lifecycle": {"preStop": {"sleep": {"seconds": PRESTOP_S}}},
    }


def _readiness(release: Release, health: Json) -> Json:
    if release.runtime != "vllm":
        return {"httpGet": health}
    return {"exec": {"command": ["python3", "-c", _SERVES, release.endpoint, *sorted(release.adapters)]}}


def _variables(options: ServerOptions, place: Placement) -> list[Json]:
    own = {
        "AWS_REGION": place.region,
        "HF_HUB_OFFLINE": "1",
        "HOME": HOME,
        "VLLM_NO_USAGE_STATS": "1",
        "XDG_CACHE_HOME": f"{HOME}/.cache",
    }
    return [{"name": name, "value": value} for name, value in sorted({**own, **options.environment}.items())]


def _resources(place: Placement) -> Json:
    """Return requests and limits: as much memory as the GPUs have, through which the weights pass.

    Processors have no limit: a server that is throttled between two tokens is slow for everybody.
    """
    gib = max(8, place.pool.vram_gib * place.gpus) if place.pool and place.gpus else 4
    gpus = {GPU_RESOURCE: str(place.gpus)} if place.gpus else {}
    return {
        "requests": {"cpu": str(2 * max(1, place.gpus)), "memory": f"{gib}Gi", **gpus},
        "limits": {"memory": f"{gib}Gi", **gpus},
    }


def _volume_name(key: str) -> str:
    return key.replace(".", "-").replace("_", "-").lower()


def _path(key: str, source: Source) -> str:
    return f"{MODELS}/{_volume_name(key)}" if source.mounted else source.place


def _volumes(brought: Brought) -> list[Json]:
    images = [
        {"name": _volume_name(key), "image": {"reference": source.place, "pullPolicy": "IfNotPresent"}}
        for key, source in sorted(brought.sources.items())
        if source.kind == IMAGE
    ]
    claimed = any(source.mounted and source.kind != IMAGE for source in brought.sources.values())
    claim = {"name": "claim", "persistentVolumeClaim": {"claimName": MODEL_CLAIM, "readOnly": True}}
    return [*images, claim] if claimed else images


def _mounts(brought: Brought) -> list[Json]:
    found = []
    for key, source in sorted(brought.sources.items()):
        if source.mounted:
            mount = {"mountPath": _path(key, source), "readOnly": True}
            own = {"name": _volume_name(key)} if source.kind == IMAGE else {"name": "claim", "subPath": source.place}
            found.append(own | mount)
    return found
