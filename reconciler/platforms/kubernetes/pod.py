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
    TRITON_METRICS_PORT,
    service_account,
)
from reconciler.core.canonical import Json
from reconciler.core.model.release import Release
from reconciler.platforms.kubernetes.artifacts import IMAGE, STREAM, Source, cold_start_s
from reconciler.platforms.kubernetes.files import files_mounts, files_volumes
from reconciler.platforms.kubernetes.placement import Placement
from reconciler.ports import PlannedFiles, ServerOptions

USER_ID = 10001
PRESTOP_S = 15
"""How long a pod that is to end still answers: gateways take a moment to hear that it is no endpoint any more."""
MARGIN_S = 30
PROBE_S = 10
MODELS = "/models"
HOME = "/home/sluice"
REPOSITORY = "/repository"
"""Where what is laid out beside a model lies in a pod."""
CONTROL_VARIABLE = "SLUICE_CONTROL"
"""Holds the pod's own UID: a word that no client knows, and that nobody has to keep."""
TRITON = "triton"
_COMMANDS: Mapping[str, tuple[str, ...]] = {"vllm": ("vllm", "serve"), TRITON: ("tritonserver",)}
_STARTED: Mapping[str, str] = {"vllm": "/health", TRITON: "/v2/health/ready"}
_LIVES: Mapping[str, str] = {"vllm": "/health", TRITON: "/v2/health/live"}
_DRAIN: Mapping[str, str] = {"vllm": "shutdown_timeout", TRITON: "exit_timeout_secs"}
"""The engine arguments that say how long a server may finish what is in flight."""
_SERVES = (
    "import json, sys, urllib.request as r; "
    f"served = json.load(r.urlopen('http://127.0.0.1:{SLOT_PORT}/v1/models', timeout=4))['data']; "
    "sys.exit(not set(sys.argv[1:]) <= {m['id'] for m in served})"
)
"""Ready means that it serves this release's names: `/health` says only that the engine lives."""


@dataclass(frozen=True)
class Brought:
    """A release with what brings its artifacts into a pod, keyed as its lineage is: `model`, `adapters.NAME`.

    `files` is what its servers start from besides, and `files_name` the ConfigMap that brings it; most need none.
    """

    release: Release
    sources: Mapping[str, Source]
    files: PlannedFiles | None = None
    files_name: str = ""

    def paths(self) -> dict[str, str]:
        """Return where the server finds each artifact, and what it is told of the files beside them."""
        found = {key: model_path(key, source) for key, source in self.sources.items()}
        return found | dict(self.files.paths if self.files else {})


def drain_s(release: Release, place: Placement) -> int:
    """Return how long a server may finish what is in flight, in seconds."""
    asked = release.engine.get(_DRAIN[release.runtime], place.drain_s)
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
    if release.runtime == TRITON:  # what the runtime says of its end is for a machine without a grace of our own
        kept = (each for each in options.arguments if not each.startswith("--exit-timeout-secs="))
        return (*kept, f"--exit-timeout-secs={drain_s(release, place)}")
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
    lives, started = ({"path": of[runtime], "port": SLOT_PORT_NAME} for of in (_LIVES, _STARTED))
    return {
        "name": "server",
        "image": place.image,
        "command": list(_COMMANDS[runtime]),
        "args": list(server_arguments(brought, options, place)),
        "env": _variables(brought, options, place),
        "ports": _ports(runtime),
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
            "httpGet": started,
            "periodSeconds": PROBE_S,
            "timeoutSeconds": 5,
            "failureThreshold": math.ceil(startup_s(brought, place) / PROBE_S),
        },
        "readinessProbe": _readiness(release) | {"periodSeconds": 5, "timeoutSeconds": 5},
        "livenessProbe": {"httpGet": lives, "periodSeconds": PROBE_S, "timeoutSeconds": 10, "failureThreshold": 6},
        # vLLM writes no message when it dies: the end of its log is one.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "lifecycle": {"preStop": {"sleep": {"seconds": PRESTOP_S}}},
    }


def _ports(runtime: str) -> list[Json]:
    metrics = [{"name": "metrics", "containerPort": TRITON_METRICS_PORT}] if runtime == TRITON else []
    return [{"name": SLOT_PORT_NAME, "containerPort": SLOT_PORT}, *metrics]


def _readiness(release: Release) -> Json:
    """Return what says that a server serves this release; Triton's has one model of that name, from this release."""
    if release.runtime == TRITON:
        return {"httpGet": {"path": f"/v2/models/{release.endpoint}/ready", "port": SLOT_PORT_NAME}}
    return {"exec": {"command": ["python3", "-c", _SERVES, release.endpoint, *sorted(release.adapters)]}}


def _variables(brought: Brought, options: ServerOptions, place: Placement) -> list[Json]:
    own = {
        "AWS_REGION": place.region,
        "HF_HUB_OFFLINE": "1",
        "HOME": HOME,
        "VLLM_NO_USAGE_STATS": "1",
        "XDG_CACHE_HOME": f"{HOME}/.cache",
    }
    plain = [{"name": name, "value": value} for name, value in sorted({**own, **options.environment}.items())]
    uid = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}
    return [*plain, *([{"name": CONTROL_VARIABLE, "valueFrom": uid}] if brought.files else [])]


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


def model_path(key: str, source: Source) -> str:
    """Return where a server finds an artifact."""
    return f"{MODELS}/{_volume_name(key)}" if source.mounted else source.place


def _volumes(brought: Brought) -> list[Json]:
    images = [
        {"name": _volume_name(key), "image": {"reference": source.place, "pullPolicy": "IfNotPresent"}}
        for key, source in sorted(brought.sources.items())
        if source.kind == IMAGE
    ]
    claimed = any(source.mounted and source.kind != IMAGE for source in brought.sources.values())
    claim = {"name": "claim", "persistentVolumeClaim": {"claimName": MODEL_CLAIM, "readOnly": True}}
    return [*images, *([claim] if claimed else []), *files_volumes(brought.files, brought.files_name)]


def _mounts(brought: Brought) -> list[Json]:
    found = []
    for key, source in sorted(brought.sources.items()):
        if source.mounted:
            found.append(_mount(key, source, model_path(key, source)))
    return [*found, *_laid_out(brought)]


def _laid_out(brought: Brought) -> list[Json]:
    """Return the mounts that lay a server's files out: those that are written, and parts of the model beside them."""
    if brought.files is None:
        return []
    parts = sorted(brought.files.links.items())
    links = [_mount("model", brought.sources["model"], f"{REPOSITORY}/{at}", part) for at, part in parts]
    return [*links, *files_mounts(brought.files, REPOSITORY)]


def _mount(key: str, source: Source, at: str, part: str = "") -> Json:
    """Return the mount of an artifact, or of a part of it, at a path."""
    inside = "/".join(each for each in ("" if source.kind == IMAGE else source.place, part) if each)
    name = _volume_name(key) if source.kind == IMAGE else "claim"
    return {"name": name, **({"subPath": inside} if inside else {}), "mountPath": at, "readOnly": True}
