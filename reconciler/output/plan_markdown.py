"""A plan as Markdown for a pull request: one comment that updates itself and fits. Imports core types and policies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from environments.error_codes import find_code
from environments.redact import hide_accounts, redact
from environments.spec import EnvironmentSpec
from policies.catalog import CATALOG, policies_of
from reconciler.core.model.finding import Finding
from reconciler.core.plan.change import Change
from reconciler.core.plan.infrastructure import summary as preview_words
from reconciler.core.plan.plan import Plan
from reconciler.output.capacity_text import memory_line, surge_line, surge_matters
from reconciler.output.cost_text import cost_lines
from reconciler.output.going_back import ways_back
from reconciler.output.markdown import code, fenced, plain, written
from reconciler.output.plan_text import identity_line, measured_line, steps_by_endpoint, steps_by_wave, summary

COMMENT_MAX = 65_536
"""What GitHub takes as a comment. Source: its API answers "body is too long (maximum is 65536 characters)".

Bytes are counted, which are never fewer. GitLab takes a million.
"""
_ICONS = {"deny": "⛔", "warn": "⚠️", "info": "ℹ️"}
_CUTS = (
    "",
    "the fields of each change",
    "findings of the level info",
    "the steps of each wave",
    "the addresses of changes, which are counted",
    "findings of the level warn",
    "all but the first findings and notes",
)
"""What is left out, one thing more at each step, until the comment fits."""
_FEW = 20
_SHORT = 300
_FIELD = 2_000


@dataclass(frozen=True)
class Reviewed:
    """A plan with the file it is of: `where` gives the file and line of a finding."""

    plan: Plan
    spec: EnvironmentSpec | None = None
    where: Callable[[Finding], str] | None = None


def marker(environment: str) -> str:
    """Return the line by which a job finds the comment that it wrote before, and replaces it."""
    return f"<!-- sluice:plan:{environment} -->"


def plan_markdown(reviewed: Reviewed, *, limit: int = COMMENT_MAX) -> str:
    """Return the plan as GitHub-flavoured Markdown of at most `limit` bytes, the same bytes for the same plan."""
    text = ""
    for cut in range(len(_CUTS)):
        lines = _page(reviewed, cut)
        if cut < len(_CUTS) - 1 and sum(map(len, lines)) > limit:
            continue  # looking for secrets in what is too long anyway takes seconds
        text = "\n".join(hide_accounts(redact(line)) for line in lines)
        if len(text.encode()) <= limit:
            return text
    kept = text.encode()[: limit - 8].decode(errors="ignore")
    return kept[: kept.rindex("\n")] + "\n\n…\n"


def fix_of(finding: Finding, spec: EnvironmentSpec | None = None) -> str:
    """Return how a finding is put right, as its policy or its code says it."""
    policy = next((each for each in (policies_of(spec) if spec else CATALOG) if each.id == finding.policy), None)
    found = find_code(finding.policy)
    return policy.fix if policy else found.do if found else ""


def _page(reviewed: Reviewed, cut: int) -> list[str]:
    plan = reviewed.plan
    head = [marker(plan.environment), f"### Sluice plan: {code(plan.environment)}", "", f"**{_headline(plan)}**", ""]
    body = [
        *_findings(reviewed, cut),
        *_infrastructure(plan, cut),
        *_regions(plan, counted=cut >= 4),
        *(_steps(plan) if cut < 3 else ()),
        *_notes(reviewed, _FEW if cut >= 6 else None),
        *(_details(plan.pending) if cut < 1 else ()),
    ]
    identity = identity_line(plan) if plan.compared_with else f"digest `{plan.digest}`"
    return [
        *head,
        *_left_out(plan, cut),
        *body,
        "",
        f"<sub>{plain(identity) if plan.compared_with else identity}</sub>",
        "",
    ]


def _headline(plan: Plan) -> str:
    cost = plan.review.cost
    hourly = cost.get("steady_usd_per_hour")
    priced = f" {hourly:.2f} USD/h, {cost['surge_usd_per_hour']:.2f} more in the rollout." if hourly else ""
    return plain(summary(plan).plain.split("\n")[0]) + priced


def _left_out(plan: Plan, cut: int) -> list[str]:
    if not cut:
        return []
    out = "; ".join(_CUTS[1 : cut + 1])
    return [
        f"> Shortened to fit a comment (step {cut} of {len(_CUTS) - 1}). Left out: {out}. "
        f"All of it: `sluice plan {plan.environment}`, or the file that the job saved.",
        "",
    ]


def _findings(reviewed: Reviewed, cut: int) -> list[str]:
    levels = {"deny", *(["warn"] if cut < 5 else []), *(["info"] if cut < 2 else [])}
    found = [f for f in reviewed.plan.findings if f.level in levels]
    found = sorted(found, key=lambda f: (list(_ICONS).index(f.level), f))
    shown = found[:_FEW] if cut >= 6 else found
    if not shown:
        return []
    rows = [_finding(reviewed, f, short=cut >= 6) for f in shown]
    more = [f"… and {len(found) - len(shown)} more"] if len(shown) < len(found) else []
    return ["| | Policy | Where | Finding | How to fix it |", "|---|---|---|---|---|", *rows, *more, ""]


def _finding(reviewed: Reviewed, finding: Finding, *, short: bool) -> str:
    line = f"<br>{code(reviewed.where(finding))}" if reviewed.where else ""
    message = finding.message[:_SHORT] if short else finding.message
    cells = (code(finding.address) + line, plain(message), written(fix_of(finding, reviewed.spec)))
    return f"| {_ICONS[finding.level]} | {finding.policy} | {' | '.join(cells)} |"


def _regions(plan: Plan, *, counted: bool) -> list[str]:
    regions: dict[str, list[Change]] = {}
    for change in plan.pending:
        regions.setdefault(change.address.region, []).append(change)
    return [line for name, changes in sorted(regions.items()) for line in _region(name, changes, counted=counted)]


def _region(name: str, changes: Sequence[Change], *, counted: bool) -> list[str]:
    if counted:
        counts = Counter((str(c.action), str(c.moves_by)) for c in changes)
        return [f"- {code(name)}: " + ", ".join(f"{n} × {action} ({by})" for (action, by), n in sorted(counts.items()))]
    rows = [f"| {code(c.address.endpoint)} | {c.action} | {code(c.release or '-')} | {c.moves_by} |" for c in changes]
    return [f"#### {code(name)}", "", "| Endpoint | Action | Release | Moves by |", "|---|---|---|---|", *rows, ""]


def _infrastructure(plan: Plan, cut: int) -> list[str]:
    """Return what becomes of the infrastructure: a line a project, and its resources folded."""
    lines: list[str] = []
    for preview in plan.infrastructure or ():
        lines += [f"- **{preview.project}:** {plain('; '.join([preview_words(preview), *preview.cost]))}"]
        rows = [f"| {c.op} | {code(c.name)} | {code(c.type)} | {plain(', '.join(c.fields))} |" for c in preview.changes]
        if rows and cut < 1:
            table = ["| Operation | Resource | Type | Properties |", "|---|---|---|---|", *rows]
            lines += [
                "",
                f"<details><summary>resources of {preview.project}</summary>",
                "",
                *table,
                "",
                "</details>",
                "",
            ]
    return [*lines, ""] if lines else []


def _steps(plan: Plan) -> list[str]:
    """Return a list of what is done in which order, wave by wave; the notes go on with it, as one tight list."""
    steps = steps_by_endpoint(plan.steps)
    return [
        f"- **{f'{endpoint}, ' if title.startswith('wave') else ''}{title}:** {words}"
        for endpoint in sorted({change.address.endpoint for change in plan.pending})
        for title, words in steps_by_wave(endpoint, steps[endpoint])
    ]


def _notes(reviewed: Reviewed, most: int | None) -> list[str]:
    """Return a line for whatever else a reviewer weighs, each kind up to `most` times."""
    plan = reviewed.plan
    kinds = (
        _approvals(reviewed),
        [f"- **Rollback:** {words}" for words in (ways_back(plan, reviewed.spec) if reviewed.spec else [])],
        [f"- **Not in this build:** {plain(gap)}" for gap in plan.gaps],
        [
            f"- **Drift:** {code(d.address)} {code(d.path)}: {code(str(d.recorded))} → {code(str(d.live))}"
            for d in plan.drift
        ],
        [f"- **Surge:** {plain(surge_line(line))}" for line in filter(surge_matters, plan.review.surges)],
        [f"- **Memory:** {plain(memory_line(line))}" for line in plan.review.memory],
        [f"- **Capacity:** {plain(measured_line(found))}" for found in plan.review.measured],
        [
            f"- **{label.capitalize()}:** {plain(words)}"
            for label, words in cost_lines(plan.review.cost, plan.created_at)
        ],
    )
    more = [[f"- … and {len(k) - most} more"] if most is not None and len(k) > most else [] for k in kinds]
    return [line for kind, rest in zip(kinds, more, strict=True) for line in (*kind[:most], *rest)]


def _approvals(reviewed: Reviewed) -> list[str]:
    asked = reviewed.spec.approvals if reviewed.spec and (reviewed.plan.pending or reviewed.plan.building) else None
    if asked is None:
        return []
    who = ", ".join(code(name) for name in sorted({each.name for each in asked.keys}))
    how = "`sluice approve plan.json` with the job's `plan.json`, and its signed line in a comment here"
    return [f"- **Approvals:** {asked.needed} of {who}: {how}"]


def _details(changes: Sequence[Change]) -> list[str]:
    """Return the fields of each change as a diff, all of them folded; the same diff stands once."""
    same: dict[tuple[str, ...], list[str]] = {}
    for change in changes:
        lines = tuple(line for f in change.fields for line in _field(f.path, f.before, f.after))
        same.setdefault(lines, []).append(str(change.address))
    return [line for lines, addresses in same.items() for line in _folded(addresses, list(lines))]


def _folded(addresses: Sequence[str], lines: list[str]) -> list[str]:
    if not lines:
        return []
    title = ", ".join(f"<code>{address}</code>" for address in addresses)
    return ["", f"<details><summary>{title}</summary>", "", *fenced(lines, "diff"), "", "</details>"]


def _field(path: str, before: str | None, after: str | None) -> list[str]:
    told = (("-", before), ("+", after))
    return [f"{sign} {path}: {' '.join(value.split())[:_FIELD]}" for sign, value in told if value is not None]
