"""Requests by slot out of Envoy's statistics: totals by the moment they ended, cohorts by the moment they began. Pure.

The statistics are those of `counting`: what passes the public port. Retries, warm-up and gates are not in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from environments.names import SLOTS, slot_object
from reconciler.platforms.local.counting import COHORTS, MEMORY_S, TOTALS, WINDOW_S
from reconciler.platforms.local.routes import releases_in, weights_in
from reconciler.ports import Cohort, SlotCounts

_COHORT = re.compile(rf"{COHORTS}\.(\w+)\.cluster\.([a-z0-9-]+)\.window\.(\d+)\.weights\.(\w+)")
Counted = dict[str, int]
"""What became of one cohort's requests, by the statistic's name."""


def totals_pattern(endpoint: str) -> str:
    """Return the regular expression for one endpoint's totals: fifty endpoints must not cost fifty times the text."""
    return _pattern(TOTALS, endpoint)


def cohorts_pattern(endpoint: str) -> str:
    """Return the regular expression for one endpoint's cohorts."""
    return _pattern(COHORTS, endpoint)


def counts_by_slot(endpoint: str, counters: Mapping[str, str], epoch: str) -> dict[str, SlotCounts]:
    """Return every slot's totals; a slot that no request has reached yet has zeros."""
    return {
        slot: SlotCounts(
            requests=_count(counters, "requests", slot_object(endpoint, slot)),
            errors=_count(counters, "errors", slot_object(endpoint, slot)),
            rejected=_count(counters, "rejected", slot_object(endpoint, slot)),
            epoch=epoch,
        )
        for slot in SLOTS
    }


def cohorts_by_slot(
    endpoint: str, counters: Mapping[str, str], *, since_s: float, now: float
) -> dict[str, tuple[Cohort, ...]]:
    """Return every slot's cohorts whose window opened at or after `since_s`, oldest first.

    A request that named its slot was not drawn by weight, has no weights and belongs to no cohort. Of windows older
    than `MEMORY_S` Envoy may have forgotten a part, so they are left out whole.
    """
    found: dict[str, dict[tuple[int, str], Counted]] = {slot_object(endpoint, slot): {} for slot in SLOTS}
    oldest_s = max(since_s, now - MEMORY_S)
    for name, value in counters.items():
        match = _COHORT.fullmatch(name)
        if match is None or match[2] not in found or int(match[3]) * WINDOW_S < oldest_s:
            continue
        found[match[2]].setdefault((int(match[3]), match[4]), {})[match[1]] = int(value)
    return {slot: _cohorts(endpoint, slot, found[slot_object(endpoint, slot)]) for slot in SLOTS}


def _cohorts(endpoint: str, slot: str, found: Mapping[tuple[int, str], Counted]) -> tuple[Cohort, ...]:
    return tuple(
        Cohort(
            began_s=float(window * WINDOW_S),
            window_s=float(WINDOW_S),
            weights=weights,
            begun=counted["begun"],
            ended=counted.get("ended", 0),
            errors=counted.get("errors", 0),
            rejected=counted.get("rejected", 0),
            weight_pct=weights_in(weights).get(slot),
            releases=releases_in(endpoint, weights),
        )
        for (window, weights), counted in sorted(found.items())
        if counted.get("begun")
    )


def _pattern(first_word: str, endpoint: str) -> str:
    clusters = "|".join(slot_object(endpoint, slot) for slot in SLOTS)
    return rf"^{first_word}\.\w+\.cluster\.({clusters})(\.|$)"


def _count(counters: Mapping[str, str], kind: str, cluster: str) -> int:
    return int(counters.get(f"{TOTALS}.{kind}.cluster.{cluster}", "0"))
