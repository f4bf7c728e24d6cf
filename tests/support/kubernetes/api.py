"""The calls that tests and the fake provider make of a Kubernetes API server: apply, get, list, delete, by kind.

Imports httpx when it connects. Called by `control_plane`, by the provider and by tests.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

Body = dict[str, Any]
_TIMEOUT_S = 120.0


class ApiError(Exception):
    """Kubernetes says no; the text is its own message."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class UnknownKind(ApiError):
    """The API server knows no such kind, most often because its CRD is not installed."""

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(404, "UnknownKind", f'no kind "{kind}" in "{api_version}": is its CRD installed?')


@dataclass(frozen=True)
class Cluster:
    """How to reach an API server; `controllers` says whether anything there acts on objects."""

    url: str
    token: str
    certificate: str
    controllers: bool = True


@dataclass(frozen=True)
class Kind:
    """Where objects of a kind live."""

    base: str
    plural: str
    namespaced: bool


class Api:
    """A connection to one API server, safe to share between threads."""

    def __init__(self, cluster: Cluster) -> None:
        import httpx

        self.cluster = cluster
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._lock = threading.Lock()
        self._http = httpx.Client(
            base_url=cluster.url,
            headers={"Authorization": f"Bearer {cluster.token}"},
            verify=_trusting(Path(cluster.certificate)),
            timeout=_TIMEOUT_S,
            limits=httpx.Limits(max_connections=16),
        )

    def apply(
        self,
        body: Body,
        *,
        manager: str = "tests",
        dry_run: bool = False,
        force: bool = True,
        status: bool = False,
    ) -> Body:
        """Apply an object on the server's side, or its status alone, and return it as it then is.

        Raises:
            ApiError: Kubernetes refuses it.
        """
        flags = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Strict"}
        path = self.path(body) + ("/status" if status else "")
        return self._call(
            "PATCH",
            path,
            params=flags | ({"dryRun": "All"} if dry_run else {}),
            content=json.dumps(body),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Body | None:
        """Return an object, or nothing."""
        try:
            return self._call("GET", self.path(_reference(api_version, kind, name, namespace)))
        except ApiError as error:
            if error.code == 404 and not isinstance(error, UnknownKind):
                return None
            raise

    def list(self, api_version: str, kind: str, namespace: str = "", *, labels: str = "") -> list[Body]:
        """Return the objects of a kind, in one namespace or in all, that match a label selector."""
        found = self.kind(api_version, kind)
        inside = f"/namespaces/{namespace}" if namespace and found.namespaced else ""
        answer = self._call("GET", f"{found.base}{inside}/{found.plural}", params={"labelSelector": labels})
        return [{"apiVersion": api_version, "kind": kind, **item} for item in answer["items"]]

    def delete(self, api_version: str, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object and what it owns; succeed if it is already absent."""
        try:
            path = self.path(_reference(api_version, kind, name, namespace))
            self._call("DELETE", path, params={"propagationPolicy": "Background"})
        except ApiError as error:
            if error.code != 404:
                raise

    def finish(self, pod: Body) -> None:
        """Delete a pod for good, as a kubelet does when its containers have ended; succeed if it is already absent."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        headers = {"Content-Type": "application/json"}
        try:
            self._call("DELETE", self.path(pod), content=json.dumps(options), headers=headers)
        except ApiError as error:
            if error.code != 404:
                raise

    def merge(self, body: Body, *, manager: str, subresource: str = "") -> Body:
        """Update by a merge patch under a field manager's name: as a person, or as an autoscaler does with `scale`."""
        path, change = self.path(body) + (f"/{subresource}" if subresource else ""), {"spec": body["spec"]}
        headers = {"Content-Type": "application/merge-patch+json"}
        return self._call("PATCH", path, params={"fieldManager": manager}, content=json.dumps(change), headers=headers)

    def evict(self, pod: str, namespace: str) -> None:
        """Ask for a pod to go, as a drain does.

        Raises:
            ApiError: 429 where a disruption budget forbids it now.
        """
        metadata = {"name": pod, "namespace": namespace}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        self._call("POST", path, content=json.dumps(body), headers={"Content-Type": "application/json"})

    def token(self, service_account: str, namespace: str) -> str:
        """Return a new token of a service account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = self._call("POST", path, content=json.dumps(asked), headers={"Content-Type": "application/json"})
        return str(answer["status"]["token"])

    def finalize(self, namespace: str) -> None:
        """Do by hand what the namespace controller does last, where there is no controller."""
        path = f"/api/v1/namespaces/{namespace}"
        body = self._call("GET", path)
        body["spec"]["finalizers"] = []
        self._call("PUT", f"{path}/finalize", content=json.dumps(body), headers={"Content-Type": "application/json"})

    def ready(self) -> bool:
        """Return whether the server says that it is ready."""
        import httpx

        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def path(self, body: Body) -> str:
        """Return the path of one object."""
        found = self.kind(body["apiVersion"], body["kind"])
        metadata = body["metadata"]
        inside = f"/namespaces/{metadata.get('namespace') or 'default'}" if found.namespaced else ""
        return f"{found.base}{inside}/{found.plural}/{metadata['name']}"

    def kind(self, api_version: str, kind: str) -> Kind:
        """Return where objects of a kind live; asked once for each group.

        Raises:
            UnknownKind: the server has no such kind.
        """
        with self._lock:
            if (api_version, kind) not in self._kinds:
                self._discover(api_version)
            found = self._kinds.get((api_version, kind))
        if found is None:
            raise UnknownKind(api_version, kind)
        return found

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _discover(self, api_version: str) -> None:
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            resources: Sequence[Body] = self._call("GET", base)["resources"]
        except ApiError as error:
            if error.code == 404:
                return
            raise
        for resource in resources:
            if "/" not in resource["name"]:
                place = Kind(base, resource["name"], resource["namespaced"])
                self._kinds[api_version, resource["kind"]] = place

    def _call(self, method: str, path: str, **options: Any) -> Body:
        response = self._http.request(method, path, **options)
        if response.is_success:
            answer: Body = response.json()
            return answer
        raise _refusal(response)


def _refusal(response: httpx.Response) -> ApiError:
    try:
        status: Mapping[str, Any] = response.json()
        return ApiError(response.status_code, str(status.get("reason", "")), str(status["message"]))
    except (ValueError, KeyError, TypeError):
        return ApiError(response.status_code, "", response.text.strip() or response.reason_phrase)


def _reference(api_version: str, kind: str, name: str, namespace: str) -> Body:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}


def _trusting(certificate: Path) -> Any:
    """Trust only the certificate that the API server made for itself."""
    import ssl

    return ssl.create_default_context(cafile=str(certificate))
