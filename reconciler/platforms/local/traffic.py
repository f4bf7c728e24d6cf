"""Requests, errors and rejections by slot out of Envoy's counters. Pure; called by `platform`.

The counters are those that `envoy` has Envoy keep at the end of every request on the public listener, so a request
still in flight is in none, and retries, warm-up and gates are not in them.
"""

from __future__ import annotations

from collections.abc import Mapping

from environments.names import SLOTS, slot_object
from reconciler.platforms.local.envoy import COUNTED
from reconciler.ports import SlotCounts

PATTERN = rf"^{COUNTED}\."


def counts_by_slot(endpoint: str, counters: Mapping[str, str], epoch: str) -> dict[str, SlotCounts]:
    """Return every slot's counts; a slot that no request has reached yet has zeros."""
    return {
        slot: SlotCounts(
            requests=_count(counters, "requests", slot_object(endpoint, slot)),
            errors=_count(counters, "errors", slot_object(endpoint, slot)),
            rejected=_count(counters, "rejected", slot_object(endpoint, slot)),
            epoch=epoch,
        )
        for slot in SLOTS
    }


def _count(counters: Mapping[str, str], kind: str, cluster: str) -> int:
    return int(counters.get(f"{COUNTED}.{kind}.cluster.{cluster}", "0"))
