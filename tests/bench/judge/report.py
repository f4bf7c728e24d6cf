"""Print the figures as a table, write them as JSON and draw them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.judge.cases import REGRESSIONS
from tests.bench.judge.measured import Figure

_WIDTH = 92


def table(figures: list[Figure]) -> str:
    """Return the figures as text, one a line, grouped."""
    lines, group = [], ""
    for figure in figures:
        if figure.group != group:
            group = figure.group
            lines += ["", f"{group:{_WIDTH}} {'measured':>10} {'95 % interval':>19} {'runs':>6}  must reach"]
        lines.append(f"  {figure.name[: _WIDTH - 2]:{_WIDTH - 2}} {_numbers(figure)}")
    return "\n".join(lines)


def markdown(figures: list[Figure]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| figure | measured | 95 % interval | runs | must reach | met |", "|---|---|---|---|---|---|"]
    for figure in figures:
        unit = "" if figure.unit == "requests" else f" {figure.unit}".replace(" x", "x")
        value, low, high = (_digits(x) for x in (figure.value, figure.low, figure.high))
        met = {None: "", True: "yes", False: "**no**"}[figure.met]
        name = f"{figure.group}: {figure.name}"
        lines.append(f"| {name} | {value}{unit} | {low} to {high} | {figure.runs:,} | {_limit(figure)} | {met} |")
    return "\n".join(lines)


def save(figures: list[Figure], folder: Path) -> list[Path]:
    """Write judge.json, judge.md and judge.png into `folder`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    record = [{**asdict(figure), "met": figure.met} for figure in figures]
    paths = [folder / name for name in ("judge.json", "judge.md", "judge.png")]
    paths[0].write_text(json.dumps(record, indent=1) + "\n")
    paths[1].write_text(markdown(figures) + "\n")
    draw(figures, paths[2])
    return paths


def draw(figures: list[Figure], path: Path) -> None:
    """Draw exposed requests a regression on the left, false verdicts with their intervals on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    limited = [f for f in figures if f.limit is not None and f.unit == "%" and not f.at_least]
    pane, (left, right) = pyplot.subplots(1, 2, figsize=(15, max(6.0, 0.2 * len(limited))), layout="constrained")
    _draw_exposed(left, {figure.name: figure for figure in figures if figure.unit == "requests"})
    _draw_false(right, limited)
    pane.savefig(path, dpi=110)
    pyplot.close(pane)


def _draw_exposed(axes: Any, by_name: dict[str, Figure]) -> None:
    series = {
        "known-parameter SPRT": "known-parameter SPRT: {}",
        "judge, noise 0, steady": "{}, steady, flat, noise 0",
        "judge, default, steady": "{}, steady, flat",
        "judge, default, drift": "{}, drift, flat",
    }
    names = [pattern.format(name) for pattern in series.values() for name in REGRESSIONS]
    if not set(names) <= set(by_name):
        return
    for index, (label, pattern) in enumerate(series.items()):
        rows = [by_name[pattern.format(name)] for name in REGRESSIONS]
        at = [k + 0.2 * (index - 1.5) for k in range(len(rows))]
        errors = [row.high - row.value for row in rows]
        axes.bar(at, [row.value for row in rows], 0.2, yerr=errors, label=label)
    axes.set_yscale("log")
    axes.set_xticks(range(len(REGRESSIONS)), list(REGRESSIONS))
    axes.set_ylabel("challenger requests exposed until rollback")
    axes.legend()


def _draw_false(axes: Any, figures: list[Figure]) -> None:
    for index, figure in enumerate(reversed(figures)):
        axes.plot([figure.low, figure.high], [index, index], color="tab:blue")
        axes.plot(figure.value, index, "o", color="tab:blue" if figure.met else "tab:red")
        axes.plot(figure.limit, index, "|", color="black", markersize=12)
    axes.set_yticks(range(len(figures)), [f"{f.group}: {f.name}" for f in reversed(figures)], fontsize=7)
    axes.set_xlabel("% of runs, 95 % interval; the bar is what must be reached")


def _numbers(figure: Figure) -> str:
    interval = f"{_digits(figure.low)} to {_digits(figure.high)}"
    met = {None: "", True: "", False: "  NOT MET"}[figure.met]
    return f"{_digits(figure.value):>10} {interval:>19} {figure.runs:>6}  {_limit(figure)}{met}"


def _limit(figure: Figure) -> str:
    if figure.limit is None:
        return ""
    interval = "" if figure.high_max is None else f", interval below {figure.high_max:g}"
    return f"{'at least' if figure.at_least else 'at most'} {figure.limit:g}{interval}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
