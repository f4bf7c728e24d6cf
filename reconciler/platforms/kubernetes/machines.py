"""What ails a machine, and whether a server goes for its machine's sake and not for its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_TOLD_OFF = {
    "EvictionByEvictionAPI": "its machine is being drained",
    "DeletionByTaintManager": "its machine has been lost for too long",
    "PreemptionByScheduler": "a pod of higher priority needs its machine",
    "DeletionByPodGC": "its machine is gone",
    "TerminationByKubelet": "its machine ends, or has too little left",
}
"""Reasons of the condition `DisruptionTarget`. Source: Kubernetes, "Disruptions", pod disruption conditions."""


def lost_machines(nodes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return in words what ails each machine that is not well, by its name."""
    found = {}
    for node in nodes:
        name = node["metadata"]["name"]
        ready = next((c for c in (node.get("status") or {}).get("conditions") or () if c["type"] == "Ready"), None)
        if ready is not None and ready["status"] != "True":
            since = f" since {ready['lastTransitionTime']}" if ready.get("lastTransitionTime") else ""
            found[name] = f"its machine {name} does not answer{since} ({ready.get('reason') or ready['status']})"
        elif (node.get("spec") or {}).get("unschedulable"):
            found[name] = f"its machine {name} is being drained"
    return found


def gone_machine(name: str) -> str:
    """Return in words what ails a machine that the cluster does not know any more: its cloud took it back."""
    return f"its machine {name} is gone"


def is_lost(ails: str) -> bool:
    """Return whether what ails a machine keeps its servers from answering: one that is drained still serves."""
    return "does not answer" in ails or ails.endswith("is gone")


def told_off(pod: Mapping[str, Any]) -> str | None:
    """Return in words why somebody takes a pod away although it is well, None where nobody does."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    found = next((c for c in conditions if c["type"] == "DisruptionTarget" and c["status"] == "True"), None)
    if found is None:
        return None
    return _TOLD_OFF.get(str(found.get("reason")), f"it is taken away: {found.get('reason')}")


def machine_of(pod: Mapping[str, Any]) -> str:
    """Return the name of a pod's machine, empty while it has none."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def blameless(pod: Mapping[str, Any], lost: Mapping[str, str]) -> bool:
    """Return whether what fails at a pod now is its machine's failing, and says nothing of its release.

    A machine that is only closed to new pods still serves those that it has.
    """
    return is_lost(lost.get(machine_of(pod), "")) or told_off(pod) is not None
