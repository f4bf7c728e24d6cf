"""A rollout while it runs: a live table on a terminal, one line for each thing that happened everywhere else.

Imports rich and core types; gets `Snapshot`s from the loop and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from reconciler.core.canonical import Json
from reconciler.core.rollout import FORWARD, GateResult, Phase, RegionRollout
from reconciler.core.steps import Await, Note, Step, Weigh, step_kind
from reconciler.core.verdict import Verdict
from reconciler.loop import Snapshot
from reconciler.record import said

_REPEAT_S = 15.0  # how often a line says what is being waited for, where nothing is live
_STYLES = {
    Phase.PROMOTED: "green",
    Phase.ROLLED_BACK: "red",
    Phase.ROLLING_BACK: "red",
    Phase.PAUSED: "yellow",
    Phase.FAILED: "red",
}
_VERDICT_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red"}


class Progress:
    """Shows rollouts as they go; a context manager. `watch` is the loop's watcher, `notice` prints a sentence."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.time) -> None:
        self._console = console
        self._clock = clock
        self._began = clock()
        self._latest: dict[str, Snapshot] = {}
        self._told: dict[str, frozenset[str]] = {}
        self._gates: dict[tuple[str, str], tuple[GateResult, ...]] = {}
        self._reason = ""
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def notice(self, sentence: str) -> None:
        """Print a sentence above whatever is live."""
        self._console.print(Text(sentence))

    def watch(self, snapshot: Snapshot) -> None:
        """Show one turn of a loop: what is new as a line, what stands as a live table."""
        name = snapshot.rollout.endpoint
        self._latest[name] = snapshot
        for region in snapshot.rollout.regions:
            self._answers(snapshot, region)
        told = {self._stem(snapshot, step): step for step in snapshot.steps if not isinstance(step, Note)}
        for stem, step in told.items():
            if stem not in self._told.get(name, ()) and not (self._live and isinstance(step, Await)):
                self._line(snapshot, step)
        self._told[name] = frozenset(told)
        if self._live:
            self._live.update(self._table())

    def _stem(self, snapshot: Snapshot, step: Step) -> str:
        """Return what makes a line new: the step itself; for waiting, its phase and every so many seconds."""
        if not isinstance(step, Await):
            return f"{getattr(step, 'region', '*')} {step_kind(step)} {said(step)}"
        part, quiet = snapshot.rollout.region(step.region), int((self._clock() - self._began) / _REPEAT_S)
        return f"{step.region} await {part.phase} {part.step} {quiet}"

    def _answers(self, snapshot: Snapshot, region: RegionRollout) -> None:
        """Print what gates have answered since the last turn."""
        key = (snapshot.rollout.id, region.region)
        for found in region.gates:
            if found not in self._gates.get(key, ()):
                words = f"{found.gate} gate: {found.verdict}: {found.sentence}"
                self._reason = found.sentence
                self._print(snapshot, region.region, words, _VERDICT_STYLES.get(found.verdict, "yellow"))
        self._gates[key] = region.gates

    def _line(self, snapshot: Snapshot, step: Step) -> None:
        words = step.reason.split(";")[0] if isinstance(step, Await) else self._once(said(step))
        style = "bold" if isinstance(step, Weigh) else _STYLES.get(getattr(step, "phase", Phase.PENDING), "")
        self._print(snapshot, getattr(step, "region", "*"), words, style)

    def _once(self, words: str) -> str:
        """Return `head: reason` without a reason that has just been read."""
        head, _, reason = words.partition(": ")
        if reason and reason == self._reason:
            return head
        self._reason = reason or self._reason
        return words

    def _print(self, snapshot: Snapshot, region: str, words: str, style: str) -> None:
        stamp = f"{self._clock() - self._began:6.1f} s"
        place = f"  {snapshot.rollout.endpoint}/{region}  "
        self._console.print(Text.assemble((stamp, "dim"), place, (words, style)))

    def _table(self) -> Group:
        parts: list[Table | Text] = []
        for snapshot in self._latest.values():
            rollout = snapshot.rollout
            table = Table(
                box=None, pad_edge=False, title_justify="left", title=f"{rollout.endpoint} {rollout.challenger.id}"
            )
            for column in ("region", "phase", "weight", "champion ok/err", "challenger ok/err", "evidence", "left"):
                table.add_column(column)
            for part in rollout.regions:
                table.add_row(*_row(snapshot, part))
            parts.append(table)
            parts += [
                Text(f"  {s.canary_sentence}", style="dim")
                for s in snapshot.evidence.values()
                if rollout.phase in FORWARD
            ]
        return Group(*parts)


def _row(snapshot: Snapshot, part: RegionRollout) -> list[str]:
    seen = snapshot.observed.get(part.region)
    weight = seen.weights.get(part.slot, 0.0) if seen else 0.0
    waiting = [s for s in snapshot.steps if isinstance(s, Await) and s.region == part.region and s.left_s is not None]
    return [
        part.region,
        str(part.phase),
        f"{weight:g} %",
        _counts(snapshot, part.region, part.champion_slot),
        _counts(snapshot, part.region, part.slot),
        evidence_words(snapshot.judged.get(part.region, {})),
        f"{waiting[0].left_s or 0:.0f} s" if waiting else "",
    ]


def _counts(snapshot: Snapshot, region: str, slot: str | None) -> str:
    counts = snapshot.counters.get(region, {}).get(slot or "")
    return f"{counts.requests - counts.errors}/{counts.errors}" if counts else "-"


def evidence_words(judged: Json) -> str:
    """Return the evidence against both limits in a few characters, such as `harm 0.4/4.6, cleared 2 of 3`."""
    rows = judged.get("rows") or []
    if not rows:
        return "-"
    harm, limit = judged.get("rollback", 0.0), judged.get("rollback_limit", 0.0)
    cleared = sum(bool(row.get("refuted")) for row in rows)
    return f"harm {harm:.1f}/{limit:.1f}, cleared {cleared} of {len(rows)}"
