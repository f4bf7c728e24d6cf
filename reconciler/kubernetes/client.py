"""The client of one cluster: reads, server-side apply and conditional deletes, with waits that the server asks for."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import quote

from environments.errors import SluiceError
from reconciler.kubernetes.answers import NoAnswer, NoCredentials, Refusal, owners
from reconciler.kubernetes.config import config_of, connect
from reconciler.kubernetes.explain import Asked, explain
from reconciler.kubernetes.kinds import POD, Body, Kind
from reconciler.kubernetes.ports import Applied
from reconciler.kubernetes.reflector import Pace, Reflector
from reconciler.kubernetes.wire import Answer, HttpWire, Request, Wire

MANAGER = "sluice"
"""The field manager of everything that Sluice writes."""
PATIENCE_S = 30.0
"""How long one call waits, in all, because the API server asks it to (Retry-After)."""
_LEAST_WAIT_S = 0.5
_PAGE = "500"
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"


class KubeClient:
    """A `KubeReader` and `KubeWriter` of one cluster, for one event loop. Close it, which ends its watches."""

    def __init__(
        self,
        wire: Wire,
        cluster: str,
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._wire, self.cluster, self._pace = wire, cluster, pace or Pace()
        self._clock, self._sleep, self._draw = clock, sleep, draw
        self._views: dict[tuple[Kind, str, str], tuple[Reflector, asyncio.Task[None]]] = {}

    async def version(self) -> tuple[int, int]:
        """Return major and minor version of the API server; a suffix as in `36+` is left out."""
        asked = Asked(self.cluster, "get")
        found = await self._body(Request("GET", "/version"), asked)
        major, minor = (re.match(r"\d+", str(found.get(name, ""))) for name in ("major", "minor"))
        if major is None or minor is None:
            raise explain(NoAnswer(f"/version says {found}"), asked)
        return int(major[0]), int(minor[0])

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Body | None:
        """Return an object, or nothing if it is absent."""
        asked = Asked(self.cluster, "get", kind, namespace, name)
        try:
            return (await self._sent(Request("GET", kind.path(namespace, name)))).body()
        except Refusal as refusal:
            if refusal.absent_object:
                return None
            raise explain(refusal, asked) from refusal
        except (NoAnswer, NoCredentials) as problem:
            raise explain(problem, asked) from problem

    async def list(self, kind: Kind, namespace: str = "", *, labels: str = "") -> tuple[Body, ...]:
        """Return the objects that a label selector finds, read by pages."""
        asked = Asked(self.cluster, "list", kind, namespace)
        params, found = {"limit": _PAGE, "labelSelector": labels}, list[Body]()
        while True:
            answer = await self._body(Request("GET", kind.path(namespace), params), asked)
            found += [{"apiVersion": kind.api_version, "kind": kind.name, **i} for i in answer.get("items") or []]
            rest = (answer.get("metadata") or {}).get("continue")
            if not rest:
                return tuple(found)
            params = params | {"continue": str(rest)}

    def view(self, kind: Kind, namespace: str = "", *, labels: str = "") -> Reflector:
        """Return the view of these objects; the first call starts its watch, the next ones share it."""
        key = (kind, namespace, labels)
        if key not in self._views:
            asked = Asked(self.cluster, "watch", kind, namespace)
            timing = {"clock": self._clock, "sleep": self._sleep, "draw": self._draw}
            reflector = Reflector(self._wire, asked, labels=labels, pace=self._pace, **timing)  # type: ignore[arg-type]
            self._views[key] = reflector, asyncio.get_running_loop().create_task(reflector.run())
        reflector, task = self._views[key]
        if task.done():
            task.result()  # a defect ended it; it must not look like a cluster that is merely quiet
        return reflector

    async def proxy(self, namespace: str, pod: str, port: int, path: str) -> str:
        """Return what a pod answers to GET `path`, asked through the API server."""
        asked = Asked(self.cluster, "get", POD, namespace, pod)
        url = POD.path(namespace, f"{pod}:{port}", "proxy") + "/" + quote(path.lstrip("/"), safe="/?&=:,")
        try:
            return (await self._sent(Request("GET", url))).text
        except Refusal as refusal:
            if refusal.code in (401, 403, 429) and refusal.reason:  # the API server's own, not the pod's
                raise explain(refusal, asked) from refusal
            raise _pod_is_silent(refusal, asked, port, path) from refusal
        except (NoAnswer, NoCredentials) as problem:
            raise explain(problem, asked) from problem

    async def apply(self, body: Body, *, kind: Kind, force: bool = False, dry_run: bool = False) -> Applied:
        """Apply an object on the server's side as field manager `sluice`."""
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        params = {"fieldManager": MANAGER, "fieldValidation": "Strict", "force": str(force).lower()}
        request = Request("PATCH", kind.path(namespace, name), params | _dry(dry_run), body, _APPLY)
        asked = Asked(self.cluster, "patch", kind, namespace, name)
        try:
            answer = await self._sent(request)
        except Refusal as refusal:
            raise explain(refusal, asked, await self._managed(refusal, asked)) from refusal
        except (NoAnswer, NoCredentials) as problem:
            raise explain(problem, asked) from problem
        return Applied(_parsed(answer, asked), answer.warnings)

    async def make(self, body: Body, *, kind: Kind) -> None:
        """Make an object; succeed if there is one of its name, which stays as it is."""
        metadata = body["metadata"]
        namespace, params = metadata.get("namespace", ""), {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        asked = Asked(self.cluster, "create", kind, namespace, metadata["name"])
        try:
            await self._sent(Request("POST", kind.path(namespace), params, body))
        except Refusal as refusal:
            if refusal.reason != "AlreadyExists":
                raise explain(refusal, asked) from refusal
        except (NoAnswer, NoCredentials) as problem:
            raise explain(problem, asked) from problem

    async def patch(self, kind: Kind, name: str, change: Body, *, namespace: str = "", subresource: str = "") -> Body:
        """Merge a change into an object and return it."""
        params = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        request = Request("PATCH", kind.path(namespace, name, subresource), params, change, _MERGE)
        return await self._body(request, Asked(self.cluster, "patch", kind, namespace, name))

    async def delete(
        self, kind: Kind, name: str, *, namespace: str = "", uid: str = "", resource_version: str = ""
    ) -> None:
        """Delete an object and what it owns; succeed if it is already absent."""
        wanted = {"uid": uid, "resourceVersion": resource_version}
        conditions = {name: value for name, value in wanted.items() if value}
        options: Body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        options |= {"preconditions": conditions} if conditions else {}
        asked = Asked(self.cluster, "delete", kind, namespace, name)
        try:
            await self._sent(Request("DELETE", kind.path(namespace, name), {}, options))
        except Refusal as refusal:
            if not refusal.absent_object:
                raise explain(refusal, asked) from refusal
        except (NoAnswer, NoCredentials) as problem:
            raise explain(problem, asked) from problem

    async def close(self) -> None:
        """End every watch and connection."""
        tasks = [task for _, task in self._views.values()]
        self._views.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(self._wire, HttpWire):
            await self._wire.close()

    async def _managed(self, refusal: Refusal, asked: Asked) -> Sequence[Body]:
        """Return the object's `managedFields` after a conflict; nothing where it cannot be read, which is no news."""
        if asked.kind is None or not owners(refusal):
            return ()
        try:
            found = (await self._sent(Request("GET", asked.kind.path(asked.namespace, asked.name)))).body()
        except (Refusal, NoAnswer, NoCredentials):
            return ()
        fields: Sequence[Body] = found["metadata"].get("managedFields") or ()
        return fields

    async def _body(self, request: Request, asked: Asked) -> Body:
        return _parsed(await self._explained(request, asked), asked)

    async def _explained(self, request: Request, asked: Asked) -> Answer:
        try:
            return await self._sent(request)
        except (Refusal, NoAnswer, NoCredentials) as problem:
            raise explain(problem, asked) from problem

    async def _sent(self, request: Request) -> Answer:
        """Send; again after a wait that the server asks for, which it does before it has begun to act."""
        waited = 0.0
        while True:
            try:
                return await self._wire.send(request)
            except Refusal as refusal:
                if refusal.code not in (429, 503) or refusal.retry_after_s is None:
                    raise
                wait = max(refusal.retry_after_s, _LEAST_WAIT_S)
                if waited + wait > PATIENCE_S:
                    raise
            await self._sleep(wait)
            waited += wait


def open_client(context: str | None, *, region: str = "", pace: Pace | None = None) -> KubeClient:
    """Return a client of the cluster that a context of the kubeconfig names; nothing is sent yet.

    Without a context: the cluster of the pod that this runs in, else the kubeconfig's current context.

    Raises:
        SluiceError: KUBE-001 when the context is unknown or unusable; KUBE-014 when lightkube is not installed.
    """
    config = config_of(context)
    named = f"context {config.context_name}"
    return KubeClient(HttpWire(connect(config)), f"{region} ({named})" if region else named, pace=pace)


def _parsed(answer: Answer, asked: Asked) -> Body:
    try:
        return answer.body()
    except NoAnswer as problem:
        raise explain(problem, asked) from problem


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _pod_is_silent(refusal: Refusal, asked: Asked, port: int, path: str) -> SluiceError:
    return SluiceError(
        "KUBE-015",
        where=asked.where,
        what=f"GET {path} at port {port} is answered with HTTP {refusal.code}",
        why=refusal.message,
        do="look at the pod: is it there, is it running, does its server listen at that port?",
        retryable=True,
    )
