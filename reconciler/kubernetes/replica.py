"""What a watch has told so far: a store that is replaced as a whole after each list. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from reconciler.kubernetes.kinds import Body, Key, key_of

_END_OF_LIST = "k8s.io/initial-events-end"


class Replica:
    """The objects of one kind as the API server told them last.

    While a list comes in, it is kept apart from what readers see and takes its place when it is whole: what was
    deleted while nobody watched is not in it, and so goes.
    """

    def __init__(self) -> None:
        self._items: dict[Key, Body] = {}
        self._snapshot: Mapping[Key, Body] | None = None
        self._incoming: dict[Key, Body] | None = {}
        self._version = ""
        self.changes = 0
        """Grows with every change of `items`."""

    @property
    def items(self) -> Mapping[Key, Body]:
        """Return a snapshot, which later events leave as it is; copied once for each change that is looked at."""
        if self._snapshot is None:
            self._snapshot = MappingProxyType(dict(self._items))
        return self._snapshot

    @property
    def version(self) -> str:
        """Return the resourceVersion to go on watching from; empty means that a list is needed first."""
        return self._version if self._incoming is None else ""

    def begin(self) -> None:
        """Forget where the watch was, and gather a new list; readers keep what they have."""
        self._incoming, self._version = {}, ""

    def replace(self, bodies: Iterable[Body], version: str) -> None:
        """Take a whole list, read at that resourceVersion."""
        self._incoming, self._version = None, version
        items = {key_of(body): body for body in bodies}
        if items != self._items:
            self._items = items
            self._moved()

    def take(self, event: str, body: Body) -> None:
        """Take one event of a watch (ADDED, MODIFIED, DELETED, BOOKMARK); resourceVersions are never compared."""
        metadata = body["metadata"]
        version = str(metadata["resourceVersion"])
        if event == "BOOKMARK":
            if self._incoming is not None and (metadata.get("annotations") or {}).get(_END_OF_LIST) == "true":
                self.replace(self._incoming.values(), version)
            self._version = version
            return
        if self._incoming is not None:
            _put(self._incoming, event, body)
            return
        self._version = version
        _put(self._items, event, body)
        self._moved()

    def _moved(self) -> None:
        self._snapshot = None
        self.changes += 1


def _put(items: dict[Key, Body], event: str, body: Body) -> None:
    if event == "DELETED":
        items.pop(key_of(body), None)
    else:
        items[key_of(body)] = body
