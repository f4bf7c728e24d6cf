"""One rollout as an HTML page that needs nothing from anywhere: plan, time line, evidence, approvals, lineage, proof.

Imports core types, the store's entries, and the charts of the load engine. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from environments.redact import hide_accounts, redact
from loadtests.charts import Axes, Series, line_chart
from reconciler.core.attest.dsse import envelope_from_json
from reconciler.core.attest.statement import read_approval
from reconciler.core.judge import tick_from_json
from reconciler.core.judge_block import judge_settings
from reconciler.core.model.release import Artifact, Release
from reconciler.core.model.rollout import Rollout
from reconciler.operations.report import Story
from reconciler.output.evidence_plot import moments_of
from reconciler.ports import Entry

_CSS = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--rule:#d9dee5;--back:#fff;--a:#2f6fb3;--b:#d9730d;
--good:#2b8a4b;--bad:#c0392b}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa5b3;--rule:#333c48;--back:#14181e;--a:#6aa9e9;
--b:#f0994a;--good:#4cc274;--bad:#ff8a7a}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:900px;margin:2rem auto;
padding:0 1rem}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}h3{font-size:.95rem}
.wide{overflow-x:auto;margin:.8rem 0}table{border-collapse:collapse;width:100%}th,td{
border-bottom:1px solid var(--rule);padding:.3rem .5rem;text-align:left;vertical-align:top}th{white-space:nowrap}
td.long{overflow-wrap:anywhere;min-width:9rem}h1,code{overflow-wrap:anywhere}
td:first-child:not(.long){white-space:nowrap}td:first-child,code{font-variant-numeric:tabular-nums}
.verdict{padding:.6rem .8rem;border-left:5px solid var(--soft)}.promoted,.whole{border-color:var(--good)}
.rolled_back,.failed,.broken{border-color:var(--bad)}.soft,.legend,.none{color:var(--soft)}
svg{width:100%;min-width:34rem;height:auto}svg text{font-size:11px;fill:var(--soft)}
.mid{text-anchor:middle}.end{text-anchor:end}.grid{stroke:var(--rule)}
.limit{stroke:var(--bad);stroke-dasharray:5 4}text.limit{stroke:none;fill:var(--bad)}
.line{fill:none;stroke-width:2}.line.challenger{stroke:var(--b)}.line.champion{stroke:var(--a)}
.legend span{margin-right:1.2rem}.legend i{display:inline-block;width:.8rem;height:.8rem;margin-right:.35rem;
vertical-align:-1px}i.champion{background:var(--a)}i.challenger{background:var(--b)}
@media print{body{max-width:none}}
"""
_WORD_MAX = 26  # an instant (24) and most addresses stay whole
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def report_html(told: Story) -> str:
    """Return the page; every text in it is escaped, secrets and account numbers are hidden."""
    rollout, came_to = told.rollout, _text(str(told.rollout.phase))
    title = f"{rollout.environment}/{rollout.endpoint}: rollout {rollout.id}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="verdict {came_to}"><b>{came_to}</b> {_text(rollout.reason)}</p>',
        *_plan(rollout),
        *_approvals(told.approval),
        *_evidence(told),
        *_time_line(told.entries),
        *_lineage(rollout.challenger),
        *_proof(told),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{_text(title)}</title><style>{_CSS}</style>"
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _plan(rollout: Rollout) -> list[str]:
    champions = {r.champion.id: r.champion for r in rollout.regions if r.champion}
    old = next(iter(champions.values()), None)
    rows = _changed(old, rollout.challenger)
    steps = ", ".join(f"{pct:g} %" for pct in rollout.settings.steps_pct)
    return [
        "<h2>Plan</h2>",
        f"<p>From {_code(', '.join(champions) or 'nothing')} to {_code(rollout.challenger.id)}, in steps of "
        f"{_text(steps)}, begun by {_text(rollout.actor)} on {_time(rollout.started_at)}.</p>",
        _table(("field", "before", "after"), rows),
        _table(
            ("region", "wave", "slot", "came to", "why"),
            [(r.region, str(r.wave + 1), r.slot, str(r.phase), r.reason) for r in rollout.regions],
        ),
        *_gates(rollout),
    ]


def _gates(rollout: Rollout) -> list[str]:
    rows = [(r.region, g.gate, str(g.verdict), g.sentence) for r in rollout.regions for g in r.gates]
    return ["<h3>Gates</h3>", _table(("region", "gate", "verdict", "why"), rows)] if rows else []


def _changed(old: Release | None, new: Release) -> list[tuple[str, ...]]:
    before, after = old.fields() if old else {}, new.fields()
    names = sorted({*before, *after})
    return [(n, before.get(n, ""), after.get(n, "")) for n in names if before.get(n) != after.get(n)]


def _approvals(entry: Entry | None) -> list[str]:
    if entry is None:
        return ["<h2>Approvals</h2>", '<p class="soft">The environment asked for none.</p>']
    envelopes = [envelope_from_json(each) for each in entry.body["envelopes"]]
    rows = [
        (a.approver, a.approved_at, a.author or "", ", ".join(s.keyid[:16] for s in each.signatures))
        for each in envelopes
        for a in [read_approval(each)]
    ]
    return [
        "<h2>Approvals</h2>",
        f"<p>The plan {_code(entry.body['digest'])}, in the ledger as entry {entry.seq}.</p>",
        _table(("who", "when", "author of the plan", "key"), rows),
    ]


def _evidence(told: Story) -> list[str]:
    settings = judge_settings(told.rollout.settings)
    charts = []
    for region, ticks in told.ticks:
        read = (tick_from_json(tick, f"{region}, tick {n}") for n, tick in enumerate(ticks, start=1))
        moments = moments_of(read, settings)
        lines = [
            Series("harm (rolls back at 1)", "challenger", [(m.t_s, max(0.0, m.harm)) for m in moments]),
            Series("least ruled out (promotes at 1)", "champion", [(m.t_s, _least(m.cleared)) for m in moments]),
        ]
        axes = Axes("seconds", "log evidence / its limit", [(1.0, "limit")])
        charts.append(_wide(line_chart(f"{region}: evidence, {len(moments)} ticks", lines, axes)))
    return ["<h2>Evidence</h2>", *(charts or ['<p class="none">No canary was judged.</p>'])]


def _least(cleared: Iterable[tuple[str, float]]) -> float:
    return max(0.0, min((share for _, share in cleared), default=0.0))


def _time_line(entries: Sequence[Entry]) -> list[str]:
    rows = [(str(e.seq), e.at, e.address, e.kind, e.summary) for e in entries]
    return ["<h2>Time line</h2>", _table(("entry", "when", "where", "what", "in words"), rows)]


def _lineage(release: Release) -> list[str]:
    artifacts = {"model": release.model, **_named("prompts", release.prompts), **_named("adapters", release.adapters)}
    rows = []
    for name, artifact in artifacts.items():
        known = release.lineage.get(name)
        told = (known.run_id or "", known.source or "", ", ".join(known.datasets)) if known else ("", "", "")
        rows.append((name, artifact.ref, artifact.digest, *told))
    return ["<h2>Lineage</h2>", _table(("part", "reference", "digest", "run", "source", "data"), rows)]


def _named(kind: str, parts: Mapping[str, Artifact]) -> dict[str, Artifact]:
    return {f"{kind}.{name}": part for name, part in sorted(parts.items())}


def _proof(told: Story) -> list[str]:
    chain, heads = told.proof.chain, told.proof.heads
    whole = chain.ok and not heads.doubts
    words = f"{chain.checked} entries; the chain is whole" if chain.ok else chain.problem or "the chain is broken"
    last = told.entries[-1] if told.entries else None
    rows = [(str(h.seq), h.hash, h.at, h.rollout or "") for h in heads.good]
    return [
        "<h2>Proof</h2>",
        f'<p class="verdict {"whole" if whole else "broken"}">{_text(words)}</p>',
        f"<p>The last entry of this rollout is {last.seq}, {_code(last.hash)}.</p>" if last else "",
        _table(("signed up to entry", "hash", "when", "rollout"), rows) if rows else "",
        *(f"<p>{_text(d.where)}: {_text(d.what)}</p>" for d in heads.doubts),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return '<p class="none">Nothing.</p>'
    top = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return _wide(f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>")


def _cell(text: str) -> str:
    """Return a cell; only where a word is too long for a narrow page, such as a digest, it may break inside of it."""
    long = max(map(len, text.split()), default=0) > _WORD_MAX
    return f'<td class="long">{_text(text)}</td>' if long else f"<td>{_text(text)}</td>"


def _wide(html: str) -> str:
    """Return what scrolls by itself where the page is narrower than it."""
    return f'<div class="wide">{html}</div>'


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"


def _text(text: str) -> str:
    return escape(hide_accounts(redact(text)), quote=True)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
