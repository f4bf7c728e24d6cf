"""`sluice gate load --search`: measure what a slot carries, print it, and put it into the ledger.

Called by `reconciler.cli.gate`. Starts nothing and moves no traffic.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.common import print_json

if TYPE_CHECKING:
    from loadtests.profile import Profile
    from loadtests.search import Capacity
    from reconciler.compose import Composed
    from reconciler.core.canonical import Json
    from reconciler.ports import GateContext


async def search(composed: Composed, context: GateContext) -> Json:
    """Search, append the answer to the ledger (rate 0 when no rate kept the SLO), and return it for `--json`.

    Raises:
        SluiceError: as `measure_capacity`; nothing is recorded then.
    """
    from reconciler.core.events import CapacityMeasured
    from reconciler.engine.owner import operator_name
    from reconciler.gates.load_gate import measure_capacity
    from reconciler.ports import entry_of

    profile, found = await measure_capacity(context)
    body = _body(context, profile, found)
    await composed.store.append(
        entry_of(
            CapacityMeasured(context.address, context.challenger.id, body["rate_rps"], body),
            now=time.time(),
            actor=operator_name(),
        )
    )
    probes = found.to_json()["probes"]
    return {**body, "address": str(context.address), "probes": probes, "broke": _broke(probes)}


def show(answer: Json, *, as_json: bool) -> None:
    """Print what a search found."""
    if as_json:
        print_json(answer)
        return
    from reconciler.output.search_text import search_lines

    for line in search_lines(answer):
        click.echo(line)


def _body(context: GateContext, profile: Profile, found: Capacity) -> Json:
    """Return what the ledger keeps."""
    return {
        "rate_rps": round(found.rate_rps or 0.0, 3),
        "bounded_by": found.bounded_by,
        "release": context.challenger.id,
        "profile": profile.profile,
        "probe_s": profile.search.probe_s if profile.search else None,
        "probes": len(found.probes),
        "replicas": max(1, context.challenger_servers),
    }


def _broke(probes: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the slowest probe that broke the SLO; None when every one kept it."""
    return min((probe for probe in probes if probe["breaches"]), key=lambda probe: probe["rate_rps"], default=None)
