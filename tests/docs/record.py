"""Record a real rollout for the pages: the live table as SVG for the README, and the ledger for docs/concepts.md.

    python -m tests.docs.record

Real Envoy, real supervised servers that look like vLLM, 30 requests a second; about a minute. Run it again when the
live table or the words of the ledger change.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
from unittest import mock

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from reconciler.cli.common import load_environment
from reconciler.compose import compose
from reconciler.core.model.rollout import Phase
from reconciler.core.plan.plan import Scope
from reconciler.engine.apply import Applier
from reconciler.engine.loop import Snapshot
from reconciler.output.live_block import evidence_bars
from reconciler.output.progress import Progress
from tests.support.cli import Cli, project
from tests.support.processes import ROOT
from tests.support.traffic import Traffic

PICTURE = ROOT / "docs" / "assets" / "live.svg"
CONCEPTS = ROOT / "docs" / "concepts.md"
_LEDGER = re.compile(r"(?<=```text\n).*?(?=```)", re.DOTALL)
_WIDTH = 86


class Recorded(Progress):
    """Progress that remembers its lines, and each block of the last weight with evidence."""

    def __init__(self) -> None:
        super().__init__(Console(file=io.StringIO(), force_terminal=False))
        self.rows: list[tuple[str, str, str, str]] = []
        self.moments: list[tuple[int, int, Group]] = []

    def watch(self, snapshot: Snapshot) -> None:
        super().watch(snapshot)
        (part,) = snapshot.rollout.regions
        bars = evidence_bars(snapshot.judged.get(part.region, {}))
        at_last_weight = part.step == len(snapshot.rollout.settings.ladder) - 1
        if part.phase is Phase.SHIFTING and at_last_weight and bars:
            ruled_out = re.search(r"(\d+) %", bars[1])
            assert ruled_out
            self.moments.append((int(ruled_out[1]), len(self.rows), self._block(snapshot)))

    def _print(self, snapshot: Snapshot, region: str, words: str, style: str) -> None:
        stamp = f"{self._clock() - self._began:6.1f} s"
        self.rows.append((stamp, f"{snapshot.rollout.endpoint}/{region}", words, style))

    def _remind(self, snapshot: Snapshot) -> None:
        """Say nothing of waits: the block says it."""

    def picture(self) -> list[RenderableType]:
        """Return what a terminal showed while the evidence grew."""
        assert self.moments, "the judge never had evidence: was there traffic?"
        growing = [moment for moment in self.moments if moment[0] < 100] or self.moments
        _, count, block = max(growing, key=lambda moment: moment[:2])
        return [*(_row(*row) for row in self.rows[:count]), Text(), block]


def _row(stamp: str, place: str, words: str, style: str) -> Table:
    row = Table.grid(padding=(0, 2))
    row.add_column(no_wrap=True, style="dim")
    row.add_column(no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(stamp, place, Text(words, style=style))
    return row


async def _roll_out(cli: Cli, progress: Recorded) -> None:
    composed = compose(load_environment(None, cli.folder / "environments" / f"{cli.name}.yaml"))
    try:
        plan = await composed.planner().plan(Scope(), now=composed.adapters().clock())
        applier = Applier(composed.adapters(), composed.planner(), watch=progress.watch, message=progress.message)
        (outcome,) = await applier.apply(plan)
        assert outcome.good, outcome.summary
    finally:
        await composed.store.close()


def main() -> None:
    """Roll a release out under traffic; write the picture, and the ledger into its page."""
    with project() as cli:
        cli.rollout["step_min_s"] = 4
        cli.rollout["judge"]["protect"] = [{"metric": "error_rate", "ratio": 4}, {"metric": "ttft", "ratio": 1.3}]
        cli.declare("file:models/v1")
        cli.run("apply", cli.name, "--yes", code=0)
        done = cli.entries()[-1].seq
        cli.declare(cli.model("v2"))
        progress = Recorded()
        with Traffic(cli.port, per_second=30), mock.patch.dict(os.environ, {"SLUICE_HOME": str(cli.home)}):
            asyncio.run(_roll_out(cli, progress))
        shown = cli.run("history", cli.name, "--limit", str(cli.entries()[-1].seq - done), code=0).out
    shot = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    for line in progress.picture():
        shot.print(line)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    shot.save_svg(str(PICTURE), title="sluice apply", font_aspect_ratio=0.61)
    # Rich names a font on a server; a page of ours asks nobody.
    text = PICTURE.read_text()
    begin, end = text.index("    @font-face"), text.index("    .terminal-")
    PICTURE.write_text(text[:begin] + text[end:].replace("Fira Code", "ui-monospace, Menlo, Consolas"))
    ledger = "\n".join(reversed(shown.rstrip().splitlines())) + "\n"
    CONCEPTS.write_text(_LEDGER.sub(lambda _: ledger, CONCEPTS.read_text(), count=1))
    print(PICTURE, CONCEPTS, sep="\n")


if __name__ == "__main__":
    main()
