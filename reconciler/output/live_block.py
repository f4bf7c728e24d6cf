"""One rollout while it runs, as a block that a person reads at a glance, no line of it wider than 60 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from reconciler.core.canonical import Json
from reconciler.core.model.rollout import Phase, RegionRollout
from reconciler.core.rollout.steps import Wait
from reconciler.engine.loop import Snapshot
from reconciler.output.words import bar, duration_words
from reconciler.ports import GateProgress


@dataclass(frozen=True)
class Met:
    """Requests that a slot answered since both arms have traffic, and how many of them failed."""

    requests: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return f"{self.requests:,} requests, {self.failed:,} failed"


def block(snapshot: Snapshot, met: Mapping[tuple[str, str], Met], urls: Mapping[str, str], elapsed_s: float) -> Group:
    """Return a rollout's block; `met` is keyed by region and slot, `urls` says by region where clients call it."""
    rollout = snapshot.rollout
    head = Text.assemble((rollout.endpoint, "bold"), f"  {rollout.challenger.id}  ", (duration_words(elapsed_s), "dim"))
    regions = [line for part in rollout.regions for line in _region(snapshot, part, met, urls.get(part.region))]
    return Group(head, *regions)


def _region(
    snapshot: Snapshot, part: RegionRollout, met: Mapping[tuple[str, str], Met], url: str | None
) -> Iterator[RenderableType]:
    seen = snapshot.observed.get(part.region)
    weight = seen.weights.get(part.slot, 0.0) if seen else 0.0
    waits = [s for s in snapshot.steps if isinstance(s, Wait) and s.region == part.region]
    left = next((s.left_s for s in waits if s.left_s is not None), None)
    still = f"  {duration_words(left)} left" if left is not None else ""
    yield _line(2, f"{part.region}  {part.phase}  {weight:g} %{still}")
    gate = snapshot.gates.get(part.region)
    if gate is not None:
        yield from map(_dim, gate_words(gate))
    elif part.phase in (Phase.SHIFTING, Phase.BAKING):
        yield from _traffic(snapshot, part, met, url)
    elif waits:
        yield _dim(waits[0].reason)


def gate_words(gate: GateProgress) -> tuple[str, str]:
    """Return where a gate stands that is being asked: what it has, and its time."""
    most = f" of at most {duration_words(gate.limit_s)}" if gate.limit_s is not None else ""
    return f"{gate.gate} gate: {gate.words}", f"{duration_words(gate.elapsed_s)}{most}"


def _traffic(
    snapshot: Snapshot, part: RegionRollout, met: Mapping[tuple[str, str], Met], url: str | None
) -> Iterator[RenderableType]:
    arms = {"champion": part.champion_slot, "challenger": part.slot}
    counted = {arm: met.get((part.region, slot), Met()) for arm, slot in arms.items() if slot}
    for arm, found in counted.items():
        yield _line(4, f"{arm:10}  {found}")
    if not any(found.requests for found in counted.values()) and url:
        yield _dim(f"no requests yet: clients call {url}")
    bars = evidence_bars(snapshot.judged.get(part.region, {}))
    if part.phase is Phase.SHIFTING and bars:
        yield from (_line(4, words) for words in bars)
        return
    known = snapshot.evidence.get(part.region)
    if known is not None:
        yield _dim(known.bake_sentence if part.phase is Phase.BAKING else known.canary_sentence)


def evidence_bars(judged: Json) -> tuple[str, ...]:
    """Return the evidence on one scale, each bar full where it decides; empty before there is any."""
    rows = judged.get("rows") or []
    if not rows or not judged.get("rollback_limit"):
        return ()
    ruled_out = min((row["promotion"] / row["promotion_limit"] for row in rows if row["promotion_limit"]), default=0.0)
    return (
        f"worse       {bar(judged['rollback'] / judged['rollback_limit'])}  rolls back at 100 %",
        f"not worse   {bar(ruled_out)}  promotes at 100 %",
    )


def _dim(words: str) -> RenderableType:
    return _line(4, words, "dim")


def _line(indent: int, words: str, style: str = "") -> RenderableType:
    return Padding(Text(words, style=style), (0, 0, 0, indent), expand=False)
