"""Charts as inline SVG: lines over a number axis and grouped bars; no script, no font and no file from elsewhere.

Imports only the standard library. Pure. Called by the report.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 16, 40
_TICKS = 5


@dataclass(frozen=True)
class Series:
    """One line or one colour of bars. `style` is a CSS class: champion, challenger, their `dim` variants, kept, broken.

    `joined` False draws dots alone.
    """

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    joined: bool = True


@dataclass(frozen=True)
class Axes:
    """What the axes say, and horizontal lines that mark limits, as (value, text)."""

    x: str
    y: str
    limits: Sequence[tuple[float, str]] = ()


def line_chart(title: str, series: Sequence[Series], axes: Axes) -> str:
    """Return an SVG with one line a series; a chart without points says so."""
    points = [point for one in series for point in one.points]
    if not points:
        return f'<p class="none">{escape(title)}: nothing was measured.</p>'
    top = _nice(max(max(y for _, y in points), *(value for value, _ in axes.limits), 1e-9))
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    right = right if right > left else left + 1
    parts = [_frame(title, axes, top), _x_labels(left, right)]
    parts += [_limit(value, text, top) for value, text in axes.limits]
    for one in series:
        placed = [(_x(x, left, right), _y(y, top)) for x, y in one.points]
        if one.joined:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            parts.append(
                f'<polyline class="line {one.style}" points="{path}"><title>{escape(one.name)}</title></polyline>'
            )
        else:
            dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in placed)
            parts.append(f'<g class="dot {one.style}"><title>{escape(one.name)}</title>{dots}</g>')
    return _svg(title, parts) + _legend(series)


def bar_chart(title: str, groups: Sequence[str], series: Sequence[Series], axes: Axes) -> str:
    """Return an SVG with a group of bars for each of `groups`; the x of a point is its group's number."""
    values = [y for one in series for _, y in one.points]
    if not values:
        return f'<p class="none">{escape(title)}: nothing was measured.</p>'
    top = _nice(max(max(values), 1e-9))
    slot = (WIDTH - _LEFT - _RIGHT) / len(groups)
    bar = slot * 0.7 / len(series)
    parts = [_frame(title, axes, top)]
    for number, name in enumerate(groups):
        middle = _LEFT + slot * (number + 0.5)
        parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - _BOTTOM + 16}" class="mid">{escape(name)}</text>')
    for index, one in enumerate(series):
        for group, value in one.points:
            x = _LEFT + slot * (group + 0.15) + bar * index
            y = _y(value, top)
            height = max(0.0, HEIGHT - _BOTTOM - y)
            parts.append(
                f'<rect class="bar {one.style}" x="{x:.1f}" y="{y:.1f}" width="{bar:.1f}" height="{height:.1f}">'
                f"<title>{escape(one.name)}: {value:.4g}</title></rect>"
            )
    return _svg(title, parts) + _legend(series)


def _svg(title: str, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return f"<h3>{escape(title)}</h3>{head}{''.join(parts)}</svg>"


def _frame(title: str, axes: Axes, top: float) -> str:
    lines = []
    for tick in range(_TICKS + 1):
        value = top * tick / _TICKS
        y = _y(value, top)
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="end" x="{_LEFT - 6}" y="{y + 4:.1f}">{value:.4g}</text>')
    lines.append(f'<text class="mid" x="{WIDTH / 2}" y="{HEIGHT - 6}">{escape(axes.x)}</text>')
    lines.append(f'<text class="mid" transform="translate(12 {HEIGHT / 2}) rotate(-90)">{escape(axes.y)}</text>')
    return "".join(lines)


def _x_labels(left: float, right: float) -> str:
    values = [left + (right - left) * tick / _TICKS for tick in range(_TICKS + 1)]
    y = HEIGHT - _BOTTOM + 16
    return "".join(f'<text class="mid" x="{_x(v, left, right):.1f}" y="{y}">{v:.4g}</text>' for v in values)


def _limit(value: float, text: str, top: float) -> str:
    y = _y(value, top)
    return (
        f'<line class="limit" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="end limit" x="{WIDTH - _RIGHT}" y="{y - 4:.1f}">{escape(text)}</text>'
    )


def _legend(series: Sequence[Series]) -> str:
    items = "".join(f'<span><i class="{one.style}"></i>{escape(one.name)}</span>' for one in series)
    return f'<p class="legend">{items}</p>'


def _x(value: float, left: float, right: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * (value - left) / (right - left)


def _y(value: float, top: float) -> float:
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - value / top)


def _nice(value: float) -> float:
    """Return the next of 1, 2, 2.5, 5 or 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.999)
