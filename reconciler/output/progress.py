"""A rollout while it runs: a live block on a terminal, one line for each thing that happened everywhere else.

Gets `Snapshot`s from the loop and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from reconciler.core.model.rollout import GateResult, Phase, RegionRollout
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.describe import describe
from reconciler.core.rollout.steps import NoteSilence, SetWeights, Step, Wait, step_kind
from reconciler.engine.loop import Snapshot
from reconciler.output.live_block import Met, block, gate_words
from reconciler.output.words import duration_words
from reconciler.ports import SlotCounts

_REPEAT_S = 15.0  # how often a line says what is being waited for, where nothing is live
_STYLES = {
    Phase.PROMOTED: "green",
    Phase.ROLLED_BACK: "red",
    Phase.ROLLING_BACK: "red",
    Phase.PAUSED: "yellow",
    Phase.FAILED: "red",
}
_VERDICT_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red"}
_WITH_TRAFFIC = (Phase.SHIFTING, Phase.BAKING)
Urls = Mapping[tuple[str, str], str]
"""(region, endpoint) → where clients call it."""


class Progress:
    """Shows rollouts as they go; a context manager. `watch` is the loop's watcher, `message` prints a sentence.

    At the end it says how long each took, how many requests both arms answered meanwhile, and where reports are.
    """

    def __init__(
        self,
        console: Console,
        *,
        clock: Callable[[], float] = time.time,
        urls: Urls = MappingProxyType({}),
    ) -> None:
        self._console = console
        self._clock = clock
        self._urls = urls
        self._began = clock()
        self._latest: dict[str, Snapshot] = {}
        self._told: dict[str, frozenset[str]] = {}
        self._gates: dict[tuple[str, str], tuple[GateResult, ...]] = {}
        self._since: dict[str, float] = {}
        self._repeated: dict[str, float] = {}
        self._traffic = _Traffic()
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
        if kind is None:
            for line in self.closing():
                self.message(line)

    def message(self, sentence: str) -> None:
        """Print a sentence above whatever is live."""
        self._console.print(Text(sentence))

    def watch(self, snapshot: Snapshot) -> None:
        """Show one turn of a loop: what is new as a line, what stands as a live block."""
        name = snapshot.rollout.endpoint
        self._since.setdefault(snapshot.rollout.id, self._clock())
        self._latest[name] = snapshot
        self._traffic.take(snapshot)
        for region in snapshot.rollout.regions:
            self._answers(snapshot, region)
        told = {self._stem(snapshot, step): step for step in snapshot.steps if not isinstance(step, NoteSilence | Wait)}
        for stem, step in told.items():
            if stem not in self._told.get(name, ()):
                self._line(snapshot, step)
        self._told[name] = frozenset(told)
        if not self._live:
            self._remind(snapshot)
        if self._live:
            self._live.update(Group(*(self._block(each) for each in self._latest.values())))

    def closing(self) -> list[str]:
        """Return what is said when everything has ended: durations, requests, failures and reports."""
        lines = []
        for name, snapshot in self._latest.items():
            took = duration_words(self._clock() - self._since[snapshot.rollout.id])
            met = self._traffic.of(snapshot.rollout.id)
            told = f"{name}: took {took}"
            if met and any(part.champion_slot for part in snapshot.rollout.regions):
                requests, failed = sum(m.requests for m in met.values()), sum(m.failed for m in met.values())
                told += f"; while both releases had traffic: {Met(requests, failed)}"
            lines.append(told)
            reports = [link for part in snapshot.rollout.regions for gate in part.gates for link in gate.links]
            lines += [f"  report: {link}" for link in dict.fromkeys(reports)]
        return lines

    def _block(self, snapshot: Snapshot) -> Group:
        urls = {region: url for (region, endpoint), url in self._urls.items() if endpoint == snapshot.rollout.endpoint}
        elapsed_s = self._clock() - self._since[snapshot.rollout.id]
        return block(snapshot, self._traffic.of(snapshot.rollout.id), urls, elapsed_s)

    def _stem(self, snapshot: Snapshot, step: Step) -> str:
        """Return what makes a line new."""
        return f"{getattr(step, 'region', '*')} {step_kind(step)} {describe(step)}"

    def _remind(self, snapshot: Snapshot) -> None:
        """Say what is being waited for and where gates stand, at once and then from time to time."""
        for region, gate in snapshot.gates.items():
            if self._is_due(f"{snapshot.rollout.id} {region} {gate.gate}"):
                self._print(snapshot, region, ", ".join(gate_words(gate)), "")
        for step in snapshot.steps:
            if isinstance(step, Wait) and step.region not in snapshot.gates:
                part = snapshot.rollout.region(step.region)
                if self._is_due(f"{snapshot.rollout.id} {step.region} {part.phase} {part.step}"):
                    self._print(snapshot, step.region, self._waiting(snapshot, step), "")

    def _is_due(self, what: str) -> bool:
        now, last = self._clock(), self._repeated.get(what)
        if last is not None and now - last < _REPEAT_S:
            return False
        self._repeated[what] = now
        return True

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
        words = self._once(describe(step))
        style = "bold" if isinstance(step, SetWeights) else _STYLES.get(getattr(step, "phase", Phase.PENDING), "")
        self._print(snapshot, getattr(step, "region", "*"), words, style)

    def _waiting(self, snapshot: Snapshot, step: Wait) -> str:
        left = f", {duration_words(step.left_s)} left at most" if step.left_s is not None else ""
        url = self._urls.get((step.region, snapshot.rollout.endpoint))
        phase = snapshot.rollout.region(step.region).phase
        idle = phase in _WITH_TRAFFIC and not self._traffic.any(snapshot.rollout.id, step.region)
        call = f"; clients call {url}" if idle and url else ""
        return f"{step.reason.split(';')[0].removesuffix('.')}{left}{call}"

    def _once(self, words: str) -> str:
        """Return `head: reason` without a reason that has just been read."""
        head, _, reason = words.partition(": ")
        if reason and reason == self._reason:
            return head
        self._reason = reason or self._reason
        return words

    def _print(self, snapshot: Snapshot, region: str, words: str, style: str) -> None:
        """Print a line; on a terminal what does not fit goes on below its own beginning, elsewhere it stays whole."""
        stamp, place = f"{self._clock() - self._began:6.1f} s", f"{snapshot.rollout.endpoint}/{region}"
        if not self._live:
            self._console.print(Text.assemble((stamp, "dim"), f"  {place}  ", (words, style)))
            return
        row = Table.grid(padding=(0, 2))
        row.add_column(no_wrap=True, style="dim")
        row.add_column(no_wrap=True)
        row.add_column(overflow="fold")
        row.add_row(stamp, place, Text(words, style=style))
        self._console.print(row)


class _Traffic:
    """Counts what slots answered since their region began to split traffic: what the judge looks at, not more."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str, str], SlotCounts] = {}
        self._met: dict[tuple[str, str, str], Met] = {}

    def take(self, snapshot: Snapshot) -> None:
        """Take the counters of one turn; a server or gateway that began again begins again here."""
        for part in snapshot.rollout.regions:
            if part.phase not in _WITH_TRAFFIC:
                continue
            for slot, counts in snapshot.counters.get(part.region, {}).items():
                key = (snapshot.rollout.id, part.region, slot)
                first = self._first.setdefault(key, counts)
                if first.epoch != counts.epoch or counts.requests < first.requests:
                    first = self._first[key] = counts
                self._met[key] = Met(counts.requests - first.requests, counts.errors - first.errors)

    def of(self, rollout: str) -> dict[tuple[str, str], Met]:
        """Return requests by region and slot."""
        return {(region, slot): met for (id, region, slot), met in self._met.items() if id == rollout}

    def any(self, rollout: str, region: str) -> bool:
        """Return whether a region has answered a request."""
        return any(met.requests for (where, _), met in self.of(rollout).items() if where == region)
