"""The `kubernetes` provider of the tests: every object goes to a real API server, by server-side apply.

Run as a program: `python -m tests.support.pulumi_engine.kubernetes_provider FILE`, where FILE maps a part of a
cluster's name to its address. Started by `harness.py`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import yaml
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2

from tests.charts import source
from tests.support.kubernetes import crds
from tests.support.kubernetes.api import Api, ApiError, Cluster, UnknownKind
from tests.support.pulumi_engine.provider import (
    Change,
    Failure,
    Provider,
    Refused,
    answering,
    changes,
    checked,
    difference,
    serve,
)
from tests.support.pulumi_engine.wire import UNKNOWN, Properties, decode, encode, has_unknown, without_unknown

_MANAGER = "pulumi-kubernetes"
_FORCE = "pulumi.com/patchForce"
_NAMED_MANAGER = "pulumi.com/patchFieldManager"
_AUTONAMED = "pulumi.com/autonamed"
_GONE_S = 60.0
_SERVED_S = 60.0
_RELEASE = "kubernetes:helm.sh/v3:Release"
_RELEASE_INPUTS = {"chart"}


class KubernetesProvider(Provider):
    """Sends every object to the cluster that the provider resource of its program names."""

    name = "kubernetes"

    def __init__(self, clusters: Mapping[str, Cluster]) -> None:
        super().__init__()
        self._apis = {part: Api(cluster) for part, cluster in clusters.items()}

    @answering
    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Give a name where none is given; the API server judges everything else in a dry run."""
        inputs, olds = decode(request.news), decode(request.olds)
        if request.type == _RELEASE:
            return checked(
                inputs, [Failure(n, f'missing required input "{n}"') for n in _RELEASE_INPUTS - inputs.keys()]
            )
        failures = [Failure(n, f'missing required input "{n}"') for n in ("apiVersion", "kind") if n not in inputs]
        if request.type.endswith("Patch"):
            failures.append(Failure("", "the kubernetes provider of the tests makes whole objects, not patches"))
        drawn = f"{request.urn.rpartition('::')[2]}-{bytes(request.randomSeed).hex()[:8]}"
        return checked(_named(inputs, olds, drawn), failures)

    @answering
    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Compare inputs; ask the API server whether a field that differs can be changed in place."""
        old, new = decode(request.old_inputs), decode(request.news)
        found = changes(old, new, ("apiVersion", "kind"))
        if not found.changed or request.type == _RELEASE:
            return difference(found)
        if found.replaces or _place(old) != _place(new):
            return difference(Change(found.changed, found.replaces or ("metadata",)))
        if self._immutable(new, context):
            return difference(Change(found.changed, found.changed, delete_first=True))
        return difference(found)

    @answering
    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        """Apply an object; in a preview, have it judged without keeping it."""
        inputs = decode(request.properties)
        if request.type == _RELEASE:
            if not request.preview:
                self._installed(inputs, context)
            return provider_pb2.CreateResponse(id=request.urn.rpartition("::")[2], properties=encode(inputs))
        if request.preview:
            return provider_pb2.CreateResponse(properties=encode(self._judged(inputs, context)))
        made = self._applied(inputs, context)
        return provider_pb2.CreateResponse(id=_identity(made), properties=encode(made))

    @answering
    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        """Apply an object again; in a preview, have it judged without keeping it."""
        inputs = decode(request.news)
        if request.type == _RELEASE:
            return provider_pb2.UpdateResponse(properties=encode(inputs))
        made = self._judged(inputs, context) if request.preview else self._applied(inputs, context)
        return provider_pb2.UpdateResponse(properties=encode(made))

    @answering
    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        """Return an object as it is, or nothing when it is gone."""
        known = decode(request.inputs) or decode(request.properties)
        if request.type == _RELEASE:
            return provider_pb2.ReadResponse(id=request.id, inputs=request.inputs, properties=request.properties)
        found = self._api(context).get(known["apiVersion"], known["kind"], *reversed(_split(request.id)))
        if found is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=request.id, inputs=request.inputs, properties=encode(_shown(found)))

    @answering
    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Delete an object and wait until it is gone; succeed if it is absent, or if its kind is."""
        if request.type == _RELEASE:
            return empty_pb2.Empty()
        known = decode(request.old_inputs) or decode(request.properties)
        namespace, name = _split(request.id)
        api = self._api(context)
        try:
            api.delete(known["apiVersion"], known["kind"], name, namespace)
            _wait_until_gone(api, known["apiVersion"], known["kind"], name, namespace)
        except UnknownKind:
            return empty_pb2.Empty()  # a kind that is gone took its objects with it
        except ApiError as error:
            raise Refused(f"deleting {known['kind']} {request.id}: {error}") from error
        return empty_pb2.Empty()

    @answering
    def Invoke(self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:
        """Read YAML for `ConfigFile`; nothing else is asked of this provider."""
        if request.tok != "kubernetes:yaml:decode":
            raise Refused(f'the kubernetes provider of the tests does not answer "{request.tok}"')
        bodies = [body for body in yaml.safe_load_all(decode(request.args)["text"]) if body]
        return provider_pb2.InvokeResponse(**{"return": encode({"result": bodies})})

    def _installed(self, inputs: Properties, context: grpc.ServicerContext) -> None:
        """Refuse a chart whose CRDs are not there yet, and bring those that it brings."""
        api, name = self._api(context), str(inputs.get("name"))
        for kind in source.USES.get(name, ()):
            try:
                api.get(kind.rpartition("/")[0], kind.rpartition("/")[2], "none", "default")
            except UnknownKind as error:
                raise Refused(f"Release {name}: no matches for kind {kind}: ensure CRDs are installed first") from error
        brought = crds.bodies(source.BRINGS[name]) if name in source.BRINGS else []
        for body in brought:
            api.apply(body)
        _wait_until_served(api, crds.names(brought))

    def _api(self, context: grpc.ServicerContext) -> Api:
        """Return the cluster that the provider's inputs name."""
        return self._apis[chosen(self._apis, self.configuration(context))]

    def _applied(self, inputs: Properties, context: grpc.ServicerContext, *, dry_run: bool = False) -> Properties:
        annotations = inputs.get("metadata", {}).get("annotations") or {}
        manager = annotations.get(_NAMED_MANAGER, _MANAGER)
        force = annotations.get(_FORCE) == "true"
        try:
            return _shown(self._api(context).apply(_sent(inputs), manager=manager, dry_run=dry_run, force=force))
        except ApiError as error:
            raise _Rejected(f"{inputs['kind']} {_identity(inputs)}: {error}", error) from error

    def _judged(self, inputs: Properties, context: grpc.ServicerContext) -> Properties:
        """Return what an object would be. What is not known yet is judged as absent only where nothing is unknown.

        In a preview the object's namespace or CRD may be part of the same program, so their absence says nothing.
        """
        if has_unknown(inputs):
            return inputs
        try:
            return _without_server_values(self._applied(inputs, context, dry_run=True))
        except _Rejected as rejected:
            if isinstance(rejected.error, UnknownKind):
                return inputs
            if rejected.error.code == 404 and "namespace" in str(rejected.error):
                elsewhere = {**inputs, "metadata": {**inputs["metadata"], "namespace": "default"}}
                judged = _without_server_values(self._applied(elsewhere, context, dry_run=True))
                return {**judged, "metadata": {**judged["metadata"], "namespace": inputs["metadata"]["namespace"]}}
            raise

    def _immutable(self, inputs: Properties, context: grpc.ServicerContext) -> bool:
        """Return whether the API server refuses to change a field that it never changes."""
        if has_unknown(inputs):
            return False
        try:
            self._applied(inputs, context, dry_run=True)
        except _Rejected as rejected:
            texts = ("field is immutable", "may not be updated", "updates to statefulset spec", "cannot change")
            return rejected.error.code == 422 and any(text in str(rejected.error) for text in texts)
        return False


def chosen(parts: Iterable[str], configuration: Properties) -> str:
    """Return the longest of the parts that is in a name of a cluster in a provider's inputs.

    Raises:
        Refused: none is.
    """
    named = " ".join(_names(configuration))
    for part in sorted(parts, key=len, reverse=True):
        if part in named:
            return part
    raise Refused(f'no test cluster for "{named[:200]}"; known: {", ".join(sorted(parts)) or "none"}')


class _Rejected(Refused):
    """The API server's own refusal, kept for those who can do something about it."""

    def __init__(self, message: str, error: ApiError) -> None:
        super().__init__(message)
        self.error = error


def _sent(inputs: Properties) -> Properties:
    """Return an object as it goes to the server."""
    sent: Properties = without_unknown({k: v for k, v in inputs.items() if k not in ("__defaults", "status")})
    return sent


def _shown(body: Properties) -> Properties:
    """Return an object without the record of who owns which field: it changes at every call."""
    metadata = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
    return {**body, "metadata": metadata}


def _without_server_values(body: Properties) -> Properties:
    """Make what only a real creation decides unknown, so that no program mistakes a dry run's values for facts."""
    drawn = {"uid", "resourceVersion", "creationTimestamp"}
    metadata = {k: UNKNOWN if k in drawn else v for k, v in body["metadata"].items()}
    judged = {**body, "metadata": metadata}
    if body["kind"] == "Service" and body["apiVersion"] == "v1":
        judged["spec"] = {k: UNKNOWN if k in ("clusterIP", "clusterIPs") else v for k, v in body["spec"].items()}
    return judged | ({"status": UNKNOWN} if "status" in body else {})


def _named(inputs: Properties, olds: Properties, drawn: str) -> Properties:
    """Return an object with a name, kept from the last time, where a program gives none."""
    metadata = inputs.get("metadata") or {}
    if not isinstance(metadata, dict) or metadata.get("name") or metadata.get("generateName"):
        return inputs
    old = olds.get("metadata", {})
    kept = old.get("name") if (old.get("annotations") or {}).get(_AUTONAMED) == "true" else None
    annotations = {**(metadata.get("annotations") or {}), _AUTONAMED: "true"}
    return {**inputs, "metadata": {**metadata, "name": kept or drawn, "annotations": annotations}}


def _place(inputs: Properties) -> tuple[str, str]:
    metadata = inputs.get("metadata", {})
    return str(metadata.get("namespace") or "default"), str(metadata.get("name"))


def _identity(body: Properties) -> str:
    metadata = body.get("metadata", {})
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata.get("name"))


def _split(identity: str) -> tuple[str, str]:
    namespace, _, name = identity.rpartition("/")
    return namespace, name


def _names(configuration: Properties) -> Iterator[str]:
    """Yield what can name a cluster in a provider's inputs: contexts, clusters, servers, also inside a kubeconfig."""
    for key in ("context", "cluster", "clusterIdentifier"):
        if isinstance(configuration.get(key), str):
            yield configuration[key]
    kubeconfig: Any = configuration.get("kubeconfig")
    parsed = yaml.safe_load(kubeconfig) if isinstance(kubeconfig, str) else kubeconfig
    if isinstance(parsed, dict):
        yield str(parsed.get("current-context", ""))
        for entry in parsed.get("clusters") or []:
            yield f"{entry.get('name', '')} {entry.get('cluster', {}).get('server', '')}"


def _wait_until_gone(api: Api, api_version: str, kind: str, name: str, namespace: str) -> None:
    deadline = time.monotonic() + _GONE_S
    while api.get(api_version, kind, name, namespace) is not None:
        if kind == "Namespace" and not api.cluster.controllers:
            api.finalize(name)
        if time.monotonic() > deadline:
            raise Refused(f"deleting {kind} {namespace}/{name}: still there after {_GONE_S:.0f} s")
        time.sleep(0.05)


def _wait_until_served(api: Api, names: list[str]) -> None:
    deadline = time.monotonic() + _SERVED_S
    while names := [name for name in names if not _established(api, name)]:
        if time.monotonic() > deadline:
            raise Refused(f"not established after {_SERVED_S:.0f} s: {', '.join(names)}")
        time.sleep(0.05)


def _established(api: Api, name: str) -> bool:
    found = api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name, "") or {}
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _clusters(file: Path) -> dict[str, Cluster]:
    return {part: Cluster(**cluster) for part, cluster in json.loads(file.read_text()).items()}


if __name__ == "__main__":
    serve(KubernetesProvider(_clusters(Path(sys.argv[1]))))
