"""What keeps a slot's number of servers, and how a rollout borrows it for its time. Pure.

A ScaledObject is paused at a number by an annotation, which no other owner of it writes; KEDA scales to that number
and leaves it. A HorizontalPodAutoscaler has no pause: its lower bound is raised. Both remember what was there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from environments.names import LABEL_PREFIX
from reconciler.core.canonical import Json
from reconciler.kubernetes import Body, Kind
from reconciler.kubernetes.kinds import HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT
from reconciler.platforms.kubernetes import marks

BORROWED = f"{LABEL_PREFIX}/borrowed"
"""On an autoscaler: what its bound was before a rollout took it, as JSON; the mark that it is borrowed at all."""
PAUSED_AT, PAUSED = "autoscaling.keda.sh/paused-replicas", "autoscaling.keda.sh/paused"
"""KEDA's own annotations. Source: KEDA's documentation, "Pausing autoscaling"."""


@dataclass(frozen=True)
class Scaler:
    """The autoscaler of one slot."""

    kind: Kind
    body: Body

    @property
    def name(self) -> str:
        """Return its kind and name, for people."""
        return f"{self.kind.name} {self.body['metadata']['name']}"

    @property
    def borrowed(self) -> bool:
        """Return whether a rollout holds it."""
        return BORROWED in marks.notes_of(self.body)

    @property
    def paused_by_others(self) -> bool:
        """Return whether a person holds it: their number is not ours to change."""
        notes = marks.notes_of(self.body)
        held = PAUSED_AT in notes or notes.get(PAUSED, "false") != "false"
        return self.kind == SCALED_OBJECT and held and not self.borrowed

    def keeps(self, replicas: int) -> bool:
        """Return whether it holds at least, or exactly, so many servers by our wish."""
        if not self.borrowed:
            return False
        if self.kind == SCALED_OBJECT:
            return marks.notes_of(self.body).get(PAUSED_AT) == str(replicas)
        return int(self.body["spec"].get("minReplicas", 1)) == replicas

    def cannot(self, have: int, wanted: int) -> str | None:
        """Return in words why it cannot be made to run so many servers, None where it can."""
        if self.paused_by_others:
            return f"{self.name} was paused by somebody else"
        if self.kind == SCALED_OBJECT:
            return None
        most = int(self.body["spec"]["maxReplicas"])
        if wanted > most:
            return f"{self.name} has maxReplicas {most}"
        return None if wanted > have else f"{self.name} takes servers away by its metrics alone"


def scaler_of(workload: str, scaled: Body | None, autoscalers: tuple[Body, ...]) -> Scaler | None:
    """Return what scales a Deployment: its ScaledObject before an autoscaler, which KEDA makes of one."""
    if scaled is not None:
        return Scaler(SCALED_OBJECT, scaled)
    for body in autoscalers:
        target = body["spec"]["scaleTargetRef"]
        if (target.get("kind"), target.get("name")) == ("Deployment", workload):
            return Scaler(HORIZONTAL_POD_AUTOSCALER, body)
    return None


def borrow(scaler: Scaler, replicas: int, fence: int) -> Json:
    """Return the change by which an autoscaler keeps so many servers; what was there before is noted once."""
    notes: dict[str, Any] = {marks.FENCE: str(fence)}
    if not scaler.borrowed:
        notes[BORROWED] = json.dumps(None if scaler.kind == SCALED_OBJECT else _bound(scaler.body))
    if scaler.kind == SCALED_OBJECT:
        return _change(scaler, notes | {PAUSED_AT: str(replicas)})
    return _change(scaler, notes) | {"spec": {"minReplicas": replicas}}


def give_back(scaler: Scaler) -> Json:
    """Return the change by which an autoscaler is as it was before it was borrowed."""
    notes = {BORROWED: None, marks.FENCE: None}
    if scaler.kind == SCALED_OBJECT:
        return _change(scaler, notes | {PAUSED_AT: None})
    try:
        before = json.loads(marks.notes_of(scaler.body)[BORROWED])
    except ValueError:
        before = None
    bound = before if isinstance(before, int) else 1
    return _change(scaler, notes) | {"spec": {"minReplicas": bound}}


def _bound(body: Mapping[str, Any]) -> int:
    return int(body["spec"].get("minReplicas", 1))


def _change(scaler: Scaler, notes: Mapping[str, str | None]) -> Json:
    """Return a change of annotations for the version that was read, and no other."""
    version = scaler.body["metadata"]["resourceVersion"]
    return {"metadata": {"resourceVersion": version, "annotations": dict(notes)}}
