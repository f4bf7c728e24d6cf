"""A plan for a terminal: what changes, how it moves, in which steps, what it needs. Imports core types and rich."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from reconciler.core.plan.change import Action, Change
from reconciler.core.plan.infrastructure import summary as preview_words
from reconciler.core.plan.measured import MeasuredCapacity
from reconciler.core.plan.plan import Plan
from reconciler.core.plan.planned_steps import PlannedStep
from reconciler.core.wording import number_of
from reconciler.output.capacity_text import memory_line, memory_style, surge_line, surge_matters
from reconciler.output.cost_text import cost_lines

_SIGNS = {
    Action.CREATE: ("+", "green"),
    Action.ROLLOUT: ("~", "yellow"),
    Action.UPDATE: ("!", "cyan"),
    Action.REMOVE: ("-", "red"),
    Action.NONE: (" ", "dim"),
}
_OPERATIONS = {"create": ("+", "green"), "delete": ("-", "red"), "replace": ("±", "red")}
_LEVELS = {"deny": "bold red", "warn": "yellow", "info": "cyan"}
_MOVES = {
    "pointer": "by pointer: nothing is loaded",
    "weight": "by weight: the release is already warm in a slot",
    "warm_load": "warm load: the server runs and has to be warmed up",
    "cold_load": "cold load: a server has to be started",
    "new_nodes": "new nodes: GPUs have to be added first",
    "retire": "retire: what was kept warm is ended, and going back to it will be a cold load",
}


def print_plan(plan: Plan, console: Console) -> None:
    """Print a plan; with nothing to do, one line says so."""
    steps = steps_by_endpoint(plan.steps)
    for change in plan.pending:
        _print_change(change, console)
    for endpoint in sorted({c.address.endpoint for c in plan.pending}):
        _print_steps(endpoint, steps[endpoint], console)
    _print_infrastructure(plan, console)
    _print_needs(plan, console)
    for found in plan.drift:
        console.print(
            Text.assemble(("drift ", "magenta"), f"{found.address} {found.path}: {found.recorded} → {found.live}")
        )
    for finding in plan.findings:
        words = Text.assemble((f"{finding.level:5}", _LEVELS[finding.level]), f" {finding.policy}  {finding.address}")
        console.print(words)
        for line in finding.message.splitlines():
            console.print(Padding(Text(line), (0, 0, 0, 6), expand=False))
    for gap in plan.gaps:
        console.print(Text.assemble(("not in this build  ", "magenta"), gap))
    console.print(summary(plan))


def summary(plan: Plan) -> Text:
    """Return the plan in one line."""
    counts = {action: sum(c.action is action for c in plan.changes) for action in Action}
    if plan.gaps and not plan.changes:
        return Text("Nothing could be planned: this build lacks the adapters named above.", style="yellow")
    built = f"{number_of(sum(len(p.changes) for p in plan.building), 'resource')} of infrastructure to change"
    if plan.building and not plan.pending:
        return Text.assemble(
            ("Plan: ", "bold"), f"{built}; no release moves{_end(plan)}.\n", (identity_line(plan), "dim")
        )
    if not plan.pending:
        same = f"Nothing to do: {counts[Action.NONE]} endpoint(s) are as declared."
        return Text(same if plan.compared_with is None else f"{same}\n{identity_line(plan)}", style="green")
    said = {
        Action.CREATE: "to create",
        Action.ROLLOUT: "to roll out",
        Action.UPDATE: "to update",
        Action.REMOVE: "to remove",
        Action.NONE: "unchanged",
    }
    words = ", ".join(f"{counts[action]} {said[action]}" for action in Action if counts[action])
    first = f"{built}, then " if plan.building else ""
    return Text.assemble(("Plan: ", "bold"), f"{first}{words}{_end(plan)}.\n", (identity_line(plan), "dim"))


def _end(plan: Plan) -> str:
    denied = len(plan.denied)
    return f"; {number_of(denied, 'finding')} {'denies' if denied == 1 else 'deny'} it" if denied else ""


def identity_line(plan: Plan) -> str:
    """Return what an approval binds to; of a plan that read no live state, that there is nothing to approve."""
    if plan.compared_with is None:
        return f"digest {plan.digest}"
    return f"compared with {plan.compared_with}; live state was not read, so it cannot be applied and has no digest"


def measured_line(found: MeasuredCapacity) -> str:
    """Return in one line what an endpoint carried when it was measured, and what its replicas should carry."""
    other = "" if found.release == found.planned else f"; not the planned {found.planned}"
    source = f"({found.release}, {found.measured_at[:10]}{other})"
    if not found.measured_rps:
        return f"{found.address}  broke its slo at the lowest rate that was tried {source}"
    few, many = found.replicas_min, found.replicas_max
    low, high = map(rate, found.carries_rps)
    carried = f"{few} to {many} replicas carry {low} to {high}"
    if few == many:
        carried = "1 replica carries that" if many == 1 else f"{many} replicas carry {high}"
    return f"{found.address}  keeps its slo up to {rate(found.measured_rps)} requests/s a replica {source}: {carried}"


def rate(rps: float) -> str:
    """Return requests a second as people read them, with two decimals at most."""
    return f"{rps:.2f}".rstrip("0").rstrip(".")


def _print_change(change: Change, console: Console) -> None:
    sign, style = _SIGNS[change.action]
    head = Text.assemble((f"{sign} {change.address}", f"bold {style}"), f"  {change.action}")
    if change.release:
        head.append(f"  {change.release}", style="bold")
    console.print(head)
    if change.action is not Action.REMOVE:
        console.print(Padding(Text(_MOVES[str(change.moves_by)], style="dim"), (0, 0, 0, 4), expand=False))
    width = max((len(f.path) for f in change.fields), default=0)
    for field in change.fields:
        arrow = f"{field.before} → {field.after}"
        if field.before is None:
            arrow = str(field.after)
        elif field.after is None:
            arrow = f"{field.before} → (gone)"
        console.print(Padding(Text(f"{field.path:{width}}  {arrow}"), (0, 0, 0, 4), expand=False))
    console.print()


def steps_by_wave(endpoint: str, steps: Iterable[PlannedStep]) -> list[tuple[str, str]]:
    """Return for each wave its title and its steps in a line; regions of a wave go the same way, so one is shown."""
    waves: dict[int, list[PlannedStep]] = defaultdict(list)
    for step in steps:
        waves[step.wave].append(step)
    told = []
    for wave, listed in sorted(waves.items()):
        regions = sorted({s.address.split("/")[1] for s in listed} - {"*"})
        title = f"wave {wave + 1} ({', '.join(regions)})" if len(waves) > 1 else f"steps of {endpoint}"
        first = [s for s in listed if s.address.split("/")[1] in (*regions[:1], "*")]
        told.append((title, " → ".join(_step(s) for s in first if s.kind != "publish")))
    return told


def _print_steps(endpoint: str, steps: list[PlannedStep], console: Console) -> None:
    for title, listed in steps_by_wave(endpoint, steps):
        console.print(Text.assemble((title + "  ", "bold"), listed))
    console.print()


def _step(step: PlannedStep) -> str:
    if step.kind == "weigh":
        return f"{step.weight_pct:g} %"
    return step.kind.removeprefix("gate:") + (" gate" if step.kind.startswith("gate:") else "")


def _print_infrastructure(plan: Plan, console: Console) -> None:
    for preview in plan.infrastructure or ():
        console.print(Text.assemble((f"{plan.environment}/{preview.project}  ", "bold"), preview_words(preview)))
        for change in preview.changes:
            sign, style = _OPERATIONS.get(change.op, ("~", "yellow"))
            fields = f"  {', '.join(change.fields)}" if change.fields else ""
            line = Text.assemble((f"{sign} {change.name}", style), (f"  {change.type}{fields}", "dim"))
            console.print(Padding(line, (0, 0, 0, 4), expand=False))
        for words in preview.cost:
            console.print(Text(f"cost      {words}", style="dim"))


def _print_needs(plan: Plan, console: Console) -> None:
    for need in plan.review.pools:
        style = "dim" if need["fits"] else "bold red"
        fits = "fits" if need["fits"] else "does NOT fit"
        words = (
            f"capacity  {need['region']}/{need['pool']}: {need['gpus_steady']} GPU"
            f" + {need['gpus_surge']} surge of {need['gpus_max']}: {fits}"
        )
        console.print(Text(words, style=style))
    for line in filter(surge_matters, plan.review.surges):
        console.print(Text(f"surge     {surge_line(line)}", style="dim"))
    for line in plan.review.memory:
        console.print(Text(f"memory    {memory_line(line)}", style=memory_style(line)))
    for found in plan.review.measured:
        console.print(Text(f"capacity  {measured_line(found)}", style="dim" if found.measured_rps else "bold red"))
    for label, words in cost_lines(plan.review.cost, plan.created_at, width=console.width):
        console.print(Text(f"{label:8}  {words}", style="dim"))


def steps_by_endpoint(steps: Iterable[PlannedStep]) -> dict[str, list[PlannedStep]]:
    """Return the steps of each endpoint, in their order."""
    found: dict[str, list[PlannedStep]] = defaultdict(list)
    for step in steps:
        found[step.address.split("/")[2]].append(step)
    return found
