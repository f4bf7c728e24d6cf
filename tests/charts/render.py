"""Render a chart as Helm installs it, and see which pods the API server lets into which namespace."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.builds.catalog import built
from tests.support.kubernetes.api import ApiError, Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.lifeline import missing

LEVELS = ("restricted", "baseline", "privileged")
# An image with its registry and a tag or digest, inside any text: an argument, a setting in a ConfigMap.
_NAMED = re.compile(
    r"(?<![\w./-])(?:[a-z0-9-]+\.)+[a-z]{2,}/[a-z0-9._/-]+(?::[\w][\w.-]*(?:@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})"
)
APIS = ("monitoring.coreos.com/v1", "gateway.networking.k8s.io/v1", "cert-manager.io/v1")


def rendered(chart: Path, name: str, namespace: str, values: Mapping[str, Any]) -> list[Body]:
    """Return the objects of a chart, CRDs among them.

    Raises:
        AssertionError: helm refuses the values or the templates; the text is helm's own.
    """
    import yaml

    helm = built() / "bin" / "helm"
    if not helm.exists():
        missing("helm is not built", "run `python -m tests.builds.build helm`")
    command = [str(helm), "template", name, str(chart), "--namespace", namespace, "--values", "-", "--include-crds"]
    command += ["--kube-version", "1.35.0", *(f"--api-versions={api}" for api in APIS)]
    text = json.dumps(values)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"helm template {name}: {done.stderr}"
    return [body for body in yaml.load_all(done.stdout, _loader()) if body]


def _loader() -> Any:
    """Return a YAML loader that reads a plain `=` as text, as Kubernetes does."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """The safe loader that knows `=`."""

    Loader.add_constructor("tag:yaml.org,2002:value", Loader.construct_yaml_str)
    return Loader


def pods(objects: Sequence[Body], namespace: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what runs: NAMESPACE/KIND/NAME of the workload, and the pod that it makes."""
    for body in objects:
        spec, place = body.get("spec") or {}, body["metadata"].get("namespace") or namespace
        name = f"{place}/{body['kind']}/{body['metadata']['name']}"
        template = (
            spec.get("template")
            if "template" in spec
            else (spec.get("jobTemplate") or {}).get("spec", {}).get("template")
        )
        if body["kind"] in ("Deployment", "DaemonSet", "StatefulSet", "Job", "CronJob") and template:
            yield name, template
        elif body["kind"] == "Pod":
            yield name, body


def images(objects: Sequence[Body]) -> list[str]:
    """Return the images that a chart runs, sorted."""
    found = set()
    for _, template in pods(objects, ""):
        spec = template["spec"]
        found |= {c["image"] for c in [*spec.get("containers", []), *(spec.get("initContainers") or [])]}
    return sorted(found)


def named(objects: Sequence[Body]) -> list[str]:
    """Return every image that a chart names, for its own pods or for those that its controllers start, sorted."""
    texts = (text for body in objects if body["kind"] != "CustomResourceDefinition" for text in _texts(body))
    return sorted({image for text in texts for image in _NAMED.findall(text)} | set(images(objects)))


def _texts(value: Any) -> Iterator[str]:
    match value:
        case dict() | list():
            for inner in value.values() if isinstance(value, dict) else value:
                yield from _texts(inner)
        case str():
            yield value
        case _:
            pass


def make_levels(plane: ControlPlane) -> None:
    """Make a namespace for each Pod Security level, called like it."""
    for level in LEVELS:
        labels = {"pod-security.kubernetes.io/enforce": level}
        plane.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": level, "labels": labels}})


def level_of(plane: ControlPlane, template: Mapping[str, Any]) -> str:
    """Return the strictest level whose namespace admits a pod, by the API server's own admission."""
    said: str | None = None
    for level in LEVELS:
        said = refusal(plane, template, level)
        if said is None:
            return level
    raise AssertionError(f"no namespace admits the pod: {said}")


def refusal(plane: ControlPlane, template: Mapping[str, Any], namespace: str) -> str | None:
    """Return why the API server does not admit a pod into a namespace, or nothing."""
    metadata = {**(template.get("metadata") or {}), "name": "tried", "namespace": namespace}
    spec = {**template["spec"], "restartPolicy": template["spec"].get("restartPolicy", "Always")}
    # The node's part of a class; only the admission of the pod itself is asked here.
    spec.pop("priorityClassName", None)
    try:
        plane.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, dry_run=True)
    except ApiError as error:
        return str(error)
    return None
