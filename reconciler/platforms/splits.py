"""Splits of an endpoint's traffic between its slots: which are refused, and as whole numbers for gateways. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from environments.errors import SluiceError
from environments.names import SLOTS, Address

PARTS = 1_000_000
"""Weights are whole numbers; this many make 100 %, and the Gateway API takes no more."""
WEIGHT_RESOLUTION_PCT = 100 / PARTS


def check_weights(address: Address, weights_pct: Mapping[str, float], serving: Mapping[str, str]) -> None:
    """Refuse weights that are no split of 100 % between slots that have a server.

    Raises:
        SluiceError: `PLAT-004` no split, `PLAT-005` a slot with weight and without server.
    """
    unknown = sorted(set(weights_pct) - set(SLOTS))
    if unknown:
        raise _bad_weights(address, weights_pct, f"there is no slot {unknown[0]}; known: {', '.join(SLOTS)}")
    if not all(math.isfinite(pct) and 0 <= pct <= 100 for pct in weights_pct.values()):
        raise _bad_weights(address, weights_pct, "each weight must lie between 0 and 100")
    if abs(sum(weights_pct.values()) - 100) > 1e-6:
        raise _bad_weights(address, weights_pct, f"they add up to {sum(weights_pct.values()):g}")
    empty = sorted(slot for slot, pct in weights_pct.items() if pct > 0 and slot not in serving)
    if empty:
        raise SluiceError(
            "PLAT-005",
            where=str(address),
            what=f"slot {empty[0]} was to get {weights_pct[empty[0]]:g} % and has no running server",
            why="its share of the requests would fail",
            do="start a release in the slot first; `sluice apply` does both in order",
        )


def parts_of(weights_pct: Mapping[str, float]) -> dict[str, int]:
    """Return whole numbers that stand for the weights and add up to `PARTS` exactly."""
    parts = {slot: round(weights_pct.get(slot, 0.0) * PARTS / 100) for slot in SLOTS}
    largest = max(SLOTS, key=lambda slot: parts[slot])
    return parts | {largest: parts[largest] + PARTS - sum(parts.values())}


def _bad_weights(address: Address, weights_pct: Mapping[str, float], why: str) -> SluiceError:
    shown = ", ".join(f"{slot} {pct:g} %" for slot, pct in sorted(weights_pct.items()))
    return SluiceError(
        "PLAT-004",
        where=str(address),
        what=f"the weights {shown or '(none)'} cannot be set",
        why=why,
        do="give every slot a weight; together they are 100",
    )
