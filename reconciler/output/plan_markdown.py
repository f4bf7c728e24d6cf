"""A plan as Markdown for a pull request: a table of changes, folded details, findings. Imports core types."""

from __future__ import annotations

from reconciler.core.plan.change import Change
from reconciler.core.plan.plan import Plan
from reconciler.output.capacity_text import memory_line, surge_line, surge_matters
from reconciler.output.cost_text import cost_lines
from reconciler.output.plan_text import identity_line, measured_line, steps_by_endpoint, steps_by_wave, summary

_ICONS = {"deny": "⛔", "warn": "⚠️", "info": "ℹ️"}


def plan_markdown(plan: Plan) -> str:
    """Return the plan as GitHub-flavoured Markdown, the same bytes for the same plan."""
    lines = [f"### Sluice plan: `{plan.environment}`", "", summary(plan).plain.split("\n")[0], ""]
    if plan.pending:
        lines += ["| Address | Action | Release | Moves by |", "|---|---|---|---|"]
        lines += [f"| `{c.address}` | {c.action} | `{c.release or '-'}` | {c.moves_by} |" for c in plan.pending]
        lines.append("")
        for change in plan.pending:
            lines += _details(change)
        lines += [*_steps(plan), ""]
    if plan.findings:
        lines += ["| | Policy | Address | Finding |", "|---|---|---|---|"]
        lines += [f"| {_ICONS[f.level]} | {f.policy} | `{f.address}` | {_cell(f.message)} |" for f in plan.findings]
        lines.append("")
    lines += [f"- **Not in this build:** {gap}" for gap in plan.gaps]
    lines += [f"- **Drift:** `{d.address}` {d.path}: {d.recorded} → {d.live}" for d in plan.drift]
    lines += [f"- **Surge:** {surge_line(line)}" for line in filter(surge_matters, plan.review.surges)]
    lines += [f"- **Memory:** {memory_line(line)}" for line in plan.review.memory]
    lines += [f"- **Capacity:** {measured_line(found)}" for found in plan.review.measured]
    lines += [f"- **{label.capitalize()}:** {words}" for label, words in cost_lines(plan.review.cost, plan.created_at)]
    identity = identity_line(plan) if plan.compared_with else f"digest `{plan.digest}`"
    lines += ["", f"<sub>{identity}</sub>", ""]
    return "\n".join(lines)


def _steps(plan: Plan) -> list[str]:
    """Return a list of what is done in which order, wave by wave."""
    steps = steps_by_endpoint(plan.steps)
    return [
        f"- **{f'{endpoint}, ' if title.startswith('wave') else ''}{title}:** {listed}"
        for endpoint in sorted({change.address.endpoint for change in plan.pending})
        for title, listed in steps_by_wave(endpoint, steps[endpoint])
    ]


def _details(change: Change) -> list[str]:
    rows = [f"| `{f.path}` | {_cell(f.before or '')} | {_cell(f.after or '')} |" for f in change.fields]
    return [
        f"<details><summary><code>{change.address}</code></summary>",
        "",
        "| Field | From | To |",
        "|---|---|---|",
        *rows,
        "",
        "</details>",
        "",
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
