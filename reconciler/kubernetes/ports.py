"""What the platform may ask of one cluster: reading, writing and watching are different types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from reconciler.kubernetes.kinds import Body, Key, Kind


@dataclass(frozen=True)
class Applied:
    """What an apply led to: the object as it now is, and what the API server warned of.

    A Deployment whose pods the namespace will refuse is accepted with a warning (`would violate PodSecurity …`); the
    refusal itself appears only in the Deployment's condition `ReplicaFailure` (see `refused_pod`).
    """

    body: Body
    warnings: tuple[str, ...] = ()


class View(Protocol):
    """All objects of one kind that a selector finds, kept up to date by one watch that every reader shares."""

    @property
    def items(self) -> Mapping[Key, Body]:
        """Return a snapshot: it does not change, and its bodies must not be changed. Empty before the first list."""
        ...

    @property
    def age_s(self) -> float:
        """Return seconds since the API server was last heard of; infinite before the first list.

        A quiet cluster is heard of about once a minute, so a bound on it is best 120 s or more.
        """
        ...

    @property
    def changes(self) -> int:
        """Return a counter that grows whenever `items` changes."""
        ...

    async def synced(self, within_s: float) -> None:
        """Wait until the first list is complete.

        Raises:
            SluiceError: it is not in time, or cannot be without a change by somebody (401, 403, no such kind): the
                problem of the last try, else KUBE-013.
        """
        ...

    async def changed(self, since: int, within_s: float) -> int:
        """Wait until `changes` is another than `since`, or the time is over, and return it."""
        ...

    def fresh(self, max_age_s: float) -> Mapping[Key, Body]:
        """Return `items` if they are not older than that.

        Raises:
            SluiceError: KUBE-013, or the reason why the watch does not get on.
        """
        ...


class KubeReader(Protocol):
    """Reads of one cluster. Every failure is a SluiceError that names region, context and object."""

    async def version(self) -> tuple[int, int]:
        """Return major and minor version of the API server, such as (1, 36)."""
        ...

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Body | None:
        """Return an object, or nothing if it is absent.

        Raises:
            SluiceError: KUBE-004 when the cluster does not know the kind; 401, 403 and others as `statuses` has them.
        """
        ...

    async def list(self, kind: Kind, namespace: str = "", *, labels: str = "") -> tuple[Body, ...]:
        """Return the objects in one namespace, or in all, that a label selector finds; read by pages."""
        ...

    def view(self, kind: Kind, namespace: str = "", *, labels: str = "") -> View:
        """Return the view of these objects; the first call starts its watch, the next ones share it.

        Needs a running event loop, the same for all calls of a client.
        """
        ...

    async def proxy(self, namespace: str, pod: str, port: int, path: str) -> str:
        """Return what a pod answers to GET `path` with 2xx, asked through the API server.

        Raises:
            SluiceError: KUBE-015 (retryable) when the pod is absent, does not answer, or answers with another status.
        """
        ...


class KubeWriter(Protocol):
    """Writes to one cluster, all of which can be done again."""

    async def apply(self, body: Body, *, kind: Kind, force: bool = False, dry_run: bool = False) -> Applied:
        """Apply an object on the server's side as field manager `sluice`. Unknown fields are refused.

        `metadata.resourceVersion` and `metadata.uid`, where set, are conditions. `force` takes fields from their
        owners: only for what somebody asked to adopt.

        Raises:
            SluiceError: KUBE-005 names the owner of each field in conflict; KUBE-006 a refusal by admission; KUBE-007
                a quota; KUBE-010 that the object is another than the one that was judged; KUBE-011 a wrong body.
        """
        ...

    async def make(self, body: Body, *, kind: Kind) -> None:
        """Make an object; succeed if there is one of its name, which stays as it is.

        For an object that several write to: whoever applies to one that is there can name the version that was read.

        Raises:
            SluiceError: as `apply`.
        """
        ...

    async def patch(self, kind: Kind, name: str, change: Body, *, namespace: str = "", subresource: str = "") -> Body:
        """Merge `change` into an object (JSON merge patch) and return it.

        `metadata.resourceVersion` and `metadata.uid` in `change`, where set, are conditions.

        Raises:
            SluiceError: as `apply`, and KUBE-012 when the object is absent.
        """
        ...

    async def delete(
        self, kind: Kind, name: str, *, namespace: str = "", uid: str = "", resource_version: str = ""
    ) -> None:
        """Delete an object and, in the background, what it owns; succeed if it is already absent.

        With `uid` or `resource_version` only the object that was judged is deleted; another one of the same name, or
        a later state, is KUBE-010.
        """
        ...
