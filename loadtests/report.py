"""Reports of a load test: a self-contained HTML page with plots, and JUnit XML; nothing here judges."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from xml.etree import ElementTree

from loadtests.charts import Axes, Series, bar_chart, line_chart
from loadtests.figures import Comparison, MetricFigures, SloFigures
from loadtests.interval import Interval
from loadtests.result import ArmResult, Spread
from loadtests.search import Capacity

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PERCENTILES = ("p50", "p90", "p95", "p99")
_STYLES = ("champion", "challenger")
_CSS = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--rule:#d9dee5;--back:#fff;--a:#2f6fb3;--b:#d9730d;
--good:#2b8a4b;--bad:#c0392b}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa5b3;--rule:#333c48;--back:#14181e}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:780px;margin:2rem auto;
padding:0 1rem}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}h3{font-size:.95rem;margin:1.4rem 0 .2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{border-bottom:1px solid var(--rule);padding:.3rem .5rem;text-align:right}
th:first-child,td:first-child,td.text{text-align:left}
.verdict{padding:.6rem .8rem;border-left:5px solid var(--soft)}.PASS{border-color:var(--good)}
.FAIL,.ERROR{border-color:var(--bad)}.soft,.legend,.none{color:var(--soft)}
svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--soft)}.mid{text-anchor:middle}.end{text-anchor:end}
.grid{stroke:var(--rule)}.limit{stroke:var(--bad);stroke-dasharray:5 4}text.limit{stroke:none;fill:var(--bad)}
.line{fill:none;stroke-width:2}.line.champion{stroke:var(--a)}.line.challenger{stroke:var(--b)}
.line.dim{stroke-dasharray:3 3;opacity:.75}.bar.champion,.dot.champion,i.champion{fill:var(--a);background:var(--a)}
.bar.challenger,.dot.challenger,i.challenger{fill:var(--b);background:var(--b)}i.dim{opacity:.55}
.dot.kept,i.kept{fill:var(--good);background:var(--good)}.dot.broken,i.broken{fill:var(--bad);background:var(--bad)}
.legend span{margin-right:1.2rem}.legend i{display:inline-block;width:.8rem;height:.8rem;margin-right:.35rem;
vertical-align:-1px}
"""


@dataclass(frozen=True)
class Case:
    """One thing that was judged: its name, the verdict's name (PASS, FAIL, INCONCLUSIVE, ERROR) and the sentence."""

    name: str
    verdict: str
    sentence: str


def html_report(
    title: str, overall: Case, cases: Sequence[Case], *, comparison: Comparison, capacity: Capacity | None = None
) -> str:
    """Return one HTML page that needs nothing from anywhere."""
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="verdict {overall.verdict}"><b>{overall.verdict}</b> {escape(overall.sentence)}</p>',
        f'<p class="soft">Profile {escape(comparison.profile)}. {escape(comparison.method)}.</p>',
        "<h2>Findings</h2>",
        _table(("what", "verdict", "why"), [(case.name, case.verdict, case.sentence) for case in cases], text=True),
        "<h2>Challenger against champion</h2>",
        _table(("metric", "champion", "challenger", "change", "interval"), [_metric(m) for m in comparison.metrics]),
        "<h2>SLO</h2>",
        _table(("promise", "limit", "champion", "challenger", "interval"), [_slo(s) for s in comparison.slo]),
        "<h2>Arms, last round</h2>",
        _arms(comparison.rounds[-1].arms),
        "<h2>Plots</h2>",
        _ttft_over_time(comparison),
        *(_percentiles(name, comparison.rounds[-1].arms) for name in ("ttft_ms", "itl_ms", "e2e_ms")),
        _goodput(comparison, capacity),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_CSS}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def junit_xml(suite: str, cases: Sequence[Case]) -> str:
    """Return JUnit XML: FAIL is a failure, ERROR an error, INCONCLUSIVE a failure of its own type: it is no pass."""
    failed = [case for case in cases if case.verdict in ("FAIL", "INCONCLUSIVE")]
    broken = [case for case in cases if case.verdict == "ERROR"]
    counts = {"tests": str(len(cases)), "failures": str(len(failed)), "errors": str(len(broken))}
    suite = _legal(suite)
    root = ElementTree.Element("testsuites", counts)
    group = ElementTree.SubElement(root, "testsuite", {"name": suite} | counts)
    for case in cases:
        item = ElementTree.SubElement(group, "testcase", {"classname": suite, "name": _legal(case.name)})
        if case.verdict == "PASS":
            ElementTree.SubElement(item, "system-out").text = _legal(case.sentence)
        else:
            tag = "error" if case.verdict == "ERROR" else "failure"
            ElementTree.SubElement(item, tag, {"type": case.verdict, "message": _legal(case.sentence)})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _legal(text: str) -> str:
    """Return text without what XML 1.0 cannot hold, such as control characters that a model answered."""
    return _ILLEGAL.sub("\ufffd", text)


def _metric(figures: MetricFigures) -> tuple[str, ...]:
    if figures.change is None or figures.champion is None or figures.challenger is None:
        return figures.metric, "–", "–", "–", f"{figures.pairs} pairs"
    change = figures.change
    if figures.kind == "difference":
        return (
            figures.metric,
            f"{figures.champion:.2%}",
            f"{figures.challenger:.2%}",
            f"{change.value:+.2%}",
            f"{change.low:+.2%} … {change.high:+.2%}",
        )
    return (
        figures.metric,
        f"{figures.champion:.1f} ms",
        f"{figures.challenger:.1f} ms",
        f"{change.value - 1:+.1%}",
        f"{change.low - 1:+.1%} … {_high(change.high - 1, '+.1%')}",
    )


def _slo(figures: SloFigures) -> tuple[str, ...]:
    champion = "–" if figures.champion is None else f"{figures.champion.value:.4g}"
    if figures.challenger is None:
        return figures.name, f"{figures.limit:g}", champion, "–", f"{figures.samples} samples"
    shown = figures.challenger
    return figures.name, f"{figures.limit:g}", champion, f"{shown.value:.4g}", _range(shown)


def _styles(arms: Sequence[ArmResult]) -> tuple[str, ...]:
    """Return how each arm looks: champion and challenger, or the challenger alone."""
    return _STYLES[-len(arms) :]


def _range(shown: Interval) -> str:
    return f"{shown.low:.4g} … {_high(shown.high, '.4g')}"


def _high(value: float, shape: str) -> str:
    return format(value, shape) if math.isfinite(value) else "no bound"


def _arms(arms: Sequence[ArmResult]) -> str:
    rows: list[tuple[str, ...]] = [
        ("requests", *(f"{arm.requests:,}" for arm in arms)),
        ("failed", *(", ".join(f"{n} {name}" for name, n in arm.failures.items()) or "0" for arm in arms)),
        ("offered, requests/s", *(f"{arm.offered_rps:.2f}" for arm in arms)),
        ("goodput, requests/s", *(f"{arm.goodput_rps:.2f}" for arm in arms)),
        ("output tokens/s", *(f"{arm.output_tokens_per_s:.1f}" for arm in arms)),
        ("in flight, most", *(str(arm.in_flight_max) for arm in arms)),
    ]
    for name in ("ttft_ms", "itl_ms", "gap_ms", "e2e_ms"):
        spreads: list[Spread] = [getattr(arm, name) for arm in arms]
        rows.append((f"{name} p50 / p95 / p99", *(_spread(spread) for spread in spreads)))
    return _table(("", *(arm.target for arm in arms)), rows)


def _spread(spread: Spread) -> str:
    if spread.p50 is None or spread.p95 is None or spread.p99 is None:
        return "–"
    return f"{spread.p50:.1f} / {spread.p95:.1f} / {spread.p99:.1f}"


def _ttft_over_time(comparison: Comparison) -> str:
    series = []
    for index, style in enumerate(_styles(comparison.rounds[-1].arms)):
        for figure, dim in (("ttft_p50_ms", ""), ("ttft_p95_ms", " dim")):
            points, start = [], 0.0
            for result in comparison.rounds:
                for time_bin in result.arms[index].timeline:
                    value = getattr(time_bin, figure)
                    if value is not None:
                        points.append((start + time_bin.at_s, value))
                start += result.duration_s
            series.append(Series(f"{style} {figure[5:8]}", style + dim, points))
    limits = [(slo.limit, "SLO") for slo in comparison.slo if slo.name == "ttft_p95_ms"]
    return line_chart("Time to first token over time", series, Axes("seconds", "ms", limits))


def _percentiles(name: str, arms: Sequence[ArmResult]) -> str:
    series = []
    for style, arm in zip(_styles(arms), arms, strict=True):
        values = [getattr(getattr(arm, name), percentile) for percentile in _PERCENTILES]
        series.append(Series(style, style, [(i, value) for i, value in enumerate(values) if value is not None]))
    return bar_chart(f"{name.removesuffix('_ms')} percentiles", _PERCENTILES, series, Axes("", "ms"))


def _goodput(comparison: Comparison, capacity: Capacity | None) -> str:
    """Plot goodput against the rate: the probes of a capacity search, or the rounds where there was none."""
    axes = Axes("requests/s offered", "requests/s within the SLO")
    if capacity is None or not capacity.probes:
        series = [
            Series(
                style, style, sorted((r.arms[i].offered_rps, r.arms[i].goodput_rps) for r in comparison.rounds), False
            )
            for i, style in enumerate(_styles(comparison.rounds[-1].arms))
        ]
        return line_chart("Goodput by rate", series, axes)
    probes = sorted(capacity.probes, key=lambda probe: probe.rate_rps)
    kept = [(probe.rate_rps, probe.goodput_rps) for probe in probes if probe.kept]
    broken = [(probe.rate_rps, probe.goodput_rps) for probe in probes if not probe.kept]
    every = Series("goodput", "champion", [(probe.rate_rps, probe.goodput_rps) for probe in probes])
    dots = [Series("SLO kept", "kept", kept, False), Series("SLO broken", "broken", broken, False)]
    return line_chart("Goodput by rate", [every, *dots], axes)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text: bool = False) -> str:
    kind = ' class="text"' if text else ""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
