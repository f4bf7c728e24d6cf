"""`sluice gate`: ask one gate by itself, of what is live. Starts nothing and moves no traffic."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from environments.errors import SluiceError
from environments.gates import GATES
from reconciler.cli.common import environment_options, json_option, print_json, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.core.canonical import Json
    from reconciler.core.model.observed import ObservedEndpoint
    from reconciler.ports import GateContext, GateEvidence, LiveCounts, SlotCounts
    from reconciler.ports.adapters import Region

EXIT_STOPPED = 4


@click.command()
@click.argument("name", type=click.Choice([kind.name for kind in GATES]))
@environment_options
@click.option("--endpoint", required=True, help="Whose gate.")
@click.option("--region", help="Where; the first region of the endpoint when not given.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Also write JUnit XML to this file.")
@click.option("--search", is_flag=True, help="Instead of judging, find the highest rate that keeps the SLO.")
@json_option
def gate(
    name: str,
    env: str | None,
    file: Path | None,
    endpoint: str,
    region: str | None,
    junit: Path | None,
    search: bool,
    as_json: bool,
) -> int:
    """Ask one gate by itself; exits 4 unless it passes.

    The slot without weight is the challenger when a release is ready in it, and what serves is the champion; otherwise
    what serves is judged alone. The endpoint's `gates` block has the settings.

    `load --search` measures what one replica carries, with the `search` block of the gate's profile. The figure goes
    into the ledger and stands in plans; exits 4 when not even the lowest rate keeps the SLO.
    """
    if search:
        if name != "load" or junit:
            refused = f"the {name} gate" if name != "load" else "--junit"
            raise click.UsageError(f"--search does not go with {refused}", click.get_current_context())
        return _searched(env, file, endpoint, region, as_json=as_json)
    found = with_ports(env, file, lambda composed: _ask(composed, name, endpoint, region))
    if junit:
        from loadtests.report import Case, junit_xml

        findings = found.figures.get("findings") or []
        cases = [Case(f["name"], f["verdict"], f["sentence"]) for f in findings]
        junit.write_text(junit_xml(f"{name} {endpoint}", cases or [Case(name, found.verdict, found.sentence)]))
    if as_json:
        print_json(vars(found))
    else:
        click.echo(f"{found.verdict}: {found.sentence}")
        for link in found.links:
            click.echo(f"  {link}")
    return 0 if found.verdict == "PASS" else EXIT_STOPPED


def _searched(env: str | None, file: Path | None, endpoint: str, region: str | None, *, as_json: bool) -> int:
    from reconciler.cli.gate_search import search, show

    async def work(composed: Composed) -> Json:
        return await search(composed, await _context(composed, "load", endpoint, region, to_the_limit=True))

    answer = with_ports(env, file, work)
    show(answer, as_json=as_json)
    return 0 if answer["rate_rps"] else EXIT_STOPPED


async def _ask(composed: Composed, name: str, endpoint: str, region: str | None) -> GateEvidence:
    from dataclasses import replace

    from reconciler.compose import gates
    from reconciler.output.console import console
    from reconciler.output.live_block import gate_words

    context = await _context(composed, name, endpoint, region)
    with console(stderr=True).status(f"asking the {name} gate") as shown:
        asked = replace(context, progress=lambda progress: shown.update(", ".join(gate_words(progress))))
        return await gates(composed.loaded.spec.registry)[name].evidence(asked)


async def _context(
    composed: Composed, name: str, endpoint: str, region: str | None, *, to_the_limit: bool = False
) -> GateContext:
    """Return what the gate may look at; `to_the_limit` watches live users also where what serves gets the load."""
    from reconciler.core.model.settings import settings_of
    from reconciler.core.plan.plan import Scope
    from reconciler.planning.planner import check_scope
    from reconciler.ports import GateContext

    spec = composed.loaded.spec
    check_scope(spec, Scope((endpoint,), (region,) if region else ()))
    where = region or spec.regions_of(endpoint)[0]
    settings = settings_of(spec.endpoints[endpoint])
    block = settings.gates.get(name)
    if block is None:
        raise SluiceError(
            "GATE-001",
            where=composed.loaded.lines.where(f"endpoints.{endpoint}"),
            what=f"the endpoint declares no {name} gate",
            do=f"add `gates: {{{name}: …}}` to its rollout",
        )
    if where not in composed.regions:
        raise SluiceError("GATE-002", where=f"{spec.environment}/{where}", what=composed.gaps[where])
    live = await composed.planner().live(Scope((endpoint,), (where,)))
    seen = next(iter(live.endpoints.values()), None)
    challenger, champion = _arms(seen, f"{spec.environment}/{where}/{endpoint}")
    held = seen.slots if seen else {}
    arms: dict[str, Any] = {
        "challenger": held[challenger].release,
        "challenger_url": held[challenger].url or "",
        "challenger_servers": held[challenger].ready_count,
        "champion": held[champion].release if champion else None,
        "champion_url": held[champion].url if champion else None,
    }
    return GateContext(
        address=seen.address if seen else composed.planner().declared(Scope((endpoint,), (where,)))[0],
        rollout=f"{endpoint}-{int(time.time())}",
        settings=block | {"slo": settings.slo},
        root=str(composed.loaded.root),
        reports=str(composed.home / "reports"),
        live=_live(composed.regions[where], settings.runtime, seen, champion, challenger if to_the_limit else None),
        alpha=float(settings.judge["alpha"]),
        **arms,
    )


def _live(
    region: Region, runtime: str, seen: ObservedEndpoint | None, champion: str | None, served: str | None
) -> LiveCounts:
    """Return what reads the counters of live users: the champion's, or those of `served` as the gateway counts them.

    The server's own counters hold the load too when it goes to what serves; the gateway never sees the load.
    """
    from reconciler.evidence.counters import read_counters
    from reconciler.ports import CountsTraffic

    async def counts() -> SlotCounts | None:
        if seen is None:
            return None
        if champion is not None:
            return (await read_counters(region, runtime, seen)).get(champion)
        if served is not None and isinstance(region.reader, CountsTraffic):
            return (await region.reader.traffic(seen.address)).get(served)
        return None

    return counts


def _arms(seen: ObservedEndpoint | None, address: str) -> tuple[str, str | None]:
    """Return the challenger's slot and the champion's, None when what serves is judged alone."""
    serving = seen.serving if seen else None
    if seen is None or serving is None:
        raise SluiceError("GATE-003", where=address, what="nothing serves there", do="sluice apply first")
    other = next((n for n, s in sorted(seen.slots.items()) if n != serving and s.ready and s.weight_pct == 0), None)
    return (other, serving) if other else (serving, None)
