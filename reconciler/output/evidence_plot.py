"""How the evidence of a canary grew, tick by tick, against both limits: bars for a terminal, a PNG for a report.

Imports the judge; matplotlib only when a PNG is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from environments.errors import SluiceError
from reconciler.core.judge import JudgeSettings, Tick, judge, observe, start

_WIDTH = 30
_LINES_MAX = 40


@dataclass(frozen=True)
class Moment:
    """The evidence after one tick, as shares of the limits: `harm` at 1 rolls back, every `cleared` at 1 promotes."""

    t_s: float
    weight_pct: float
    requests: int
    harm: float
    cleared: tuple[tuple[str, float], ...]


def moments_of(ticks: Iterable[Tick], settings: JudgeSettings) -> list[Moment]:
    """Return the evidence after each tick, up to the one that decided."""
    state, found = start(settings), []
    for tick in ticks:
        state = observe(state, tick, settings)
        now = judge(state, settings)
        rows = tuple((r["row"], r["promotion"] / r["promotion_limit"]) for r in now.evidence["rows"])
        harm = now.evidence["rollback"] / now.evidence["rollback_limit"]
        found.append(Moment(tick.t_s, tick.weight_pct, tick.challenger.requests, harm, rows))
        if now.decided_at_s is not None:
            break
    return found


def evidence_lines(moments: Sequence[Moment]) -> list[str]:
    """Return lines for a terminal: evidence of harm, and of the row that is furthest from being ruled out."""
    every = max(1, len(moments) // _LINES_MAX)
    shown = [m for i, m in enumerate(moments) if i % every == 0 or i == len(moments) - 1]
    lines = [f"{'seconds':>8} {'weight':>7}  {'harm, rolls back at |':<{_WIDTH + 2}} ruled out, promotes at |"]
    for m in shown:
        row, least = min(m.cleared, key=lambda item: item[1], default=("", 0.0))
        lines.append(f"{m.t_s:8.0f} {m.weight_pct:6g} %  {_bar(m.harm)} {_bar(least)} {row}")
    return lines


def write_png(moments: Sequence[Moment], path: Path, title: str) -> None:
    """Draw both kinds of evidence over time.

    Raises:
        SluiceError: `JUDGE-012` matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise SluiceError(
            "JUDGE-012", what="drawing a PNG needs matplotlib", why=str(error), do="pip install 'sluice[judge]'"
        ) from error
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    times = [m.t_s for m in moments]
    axes.plot(times, [m.harm for m in moments], color="#c0392b", linewidth=2, label="harm (rolls back at 1)")
    for index, (row, _) in enumerate(moments[0].cleared if moments else ()):
        axes.plot(times, [m.cleared[index][1] for m in moments], linewidth=1.2, label=f"{row} ruled out")
    axes.axhline(1.0, color="black", linewidth=0.8, linestyle="--")
    axes.set(xlabel="seconds", ylabel="log evidence / its limit", title=title)
    axes.set_ylim(bottom=max(-2.0, axes.get_ylim()[0]))
    axes.legend(fontsize=8)
    figure.savefig(path, format="png")


def _bar(share: float) -> str:
    """Return a bar that is full at the limit."""
    filled = round(max(0.0, min(1.0, share)) * _WIDTH)
    return f"{'█' * filled}{'·' * (_WIDTH - filled)}|"
