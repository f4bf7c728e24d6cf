"""A cluster in memory that counts what it is asked, for tests of reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from environments.errors import SluiceError
from reconciler.kubernetes import Body, Key, Kind, key_of
from reconciler.kubernetes.kinds import GATEWAY, GATEWAY_CLASS
from tests.unit.kubernetes.made import GATEWAY as NAMED


@dataclass
class StillView:
    """Objects that never change. `problem` is why they cannot be read, `age_s` how old what is known of them is."""

    bodies: Mapping[Key, Body]
    problem: SluiceError | None = None
    age_s: float = 0.0
    changes: int = 0

    @property
    def items(self) -> Mapping[Key, Body]:
        """Return all of them."""
        return self.bodies

    async def synced(self, within_s: float) -> None:
        """Return at once, or raise the problem."""
        if self.problem:
            raise self.problem

    async def changed(self, since: int, within_s: float) -> int:
        """Return that nothing changes."""
        return self.changes

    def fresh(self, max_age_s: float) -> Mapping[Key, Body]:
        """Return the objects unless they are too old."""
        if self.age_s > max_age_s:
            raise SluiceError("KUBE-013", what="too old")
        return self.bodies


@dataclass
class StillCluster:
    """A `KubeReader` over bodies by kind and namespace. `asked` is every call that would reach the API server."""

    bodies: Mapping[tuple[Kind, str], list[Body]]
    problems: Mapping[str, SluiceError] = field(default_factory=dict)
    age_s: float = 0.0
    asked: list[str] = field(default_factory=list)
    views: dict[tuple[Kind, str], StillView] = field(default_factory=dict)

    async def version(self) -> tuple[int, int]:
        """Return 1.36."""
        self.asked.append("version")
        return 1, 36

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Body | None:
        """Return the Gateway and its class, and nothing else."""
        self.asked.append(f"get {kind.plural}")
        spec = {GATEWAY: {"gatewayClassName": NAMED.name}, GATEWAY_CLASS: {"controllerName": "controller"}}
        return {"metadata": {"name": name}, "spec": spec[kind]} if kind in spec else None

    async def list(self, kind: Kind, namespace: str = "", *, labels: str = "") -> tuple[Body, ...]:
        """Return the objects of a kind."""
        self.asked.append(f"list {kind.plural}")
        return tuple(self.bodies.get((kind, namespace), ()))

    def view(self, kind: Kind, namespace: str = "", *, labels: str = "") -> StillView:
        """Return the view of these objects; each is begun once."""
        if (kind, namespace) not in self.views:
            self.asked.append(f"watch {kind.plural}")
            found = {key_of(body): body for body in self.bodies.get((kind, namespace), ())}
            self.views[kind, namespace] = StillView(found, self.problems.get(namespace), self.age_s)
        return self.views[kind, namespace]

    async def proxy(self, namespace: str, pod: str, port: int, path: str) -> str:
        """Return nothing: no pod answers."""
        self.asked.append("proxy")
        return ""
