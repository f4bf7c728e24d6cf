"""The status of an environment for a terminal, as lines of the JSON that `status --json` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from reconciler.core.canonical import Json
from reconciler.core.wording import number_of
from reconciler.output.words import owner_words


def print_status(found: Json, console: Console) -> None:
    """Print what serves and what each slot holds, an endpoint a block."""
    console.print(status_block(found))


def status_block(found: Json) -> Group:
    """Return an environment's status; what does not fit into a line goes on below its own beginning."""
    return Group(*_lines(found))


def _lines(found: Json) -> Iterator[RenderableType]:
    yield Text(found["environment"], style="bold")
    if found.get("unreadable"):
        yield _line(2, f"cannot be read: {found['unreadable']}", "yellow")
    if found.get("orphans"):
        yield _line(2, orphan_words(found["environment"], found["orphans"]), "bold red")
    for endpoint in found["endpoints"]:
        yield from _endpoint(endpoint)
    for gap in found.get("gaps", []):
        yield _line(2, f"not in this build: {gap}", "magenta")


def orphan_words(environment: str, count: int) -> str:
    """Say that processes of an environment run whose state is gone, and how to end them."""
    return (
        f"orphans of this environment are serving: {number_of(count, 'supervisor')} run whose state was "
        "deleted, and no command "
        f"reaches them; end them with: sluice down {environment}"
    )


def _endpoint(endpoint: Json) -> Iterator[RenderableType]:
    serving = endpoint["serving"]
    words = (f"serves {serving or 'nothing'}", "green" if serving else "yellow")
    yield Padding(Text.assemble(f"{endpoint['address']}  ", words), (0, 0, 0, 2), expand=False)
    if endpoint.get("url"):
        yield _line(4, endpoint["url"], "dim")
    for name, slot in endpoint["slots"].items():
        if slot["release"] is not None:
            state = "warm" if slot["warm"] else "ready" if slot["ready"] else slot.get("problem") or "not ready"
            servers = slot["replicas"]
            if servers["wanted"] > 1:
                state = f"{servers['ready']}/{servers['wanted']} servers  {state}"
            until = f" until {slot['warm_until']}, then retired" if slot.get("warm_until") else ""
            yield _line(4, f"slot {name}  {slot['weight_pct']:5g} %  {slot['release']}  {state}{until}")
    for name, prompt in endpoint["prompts"].items():
        share = "" if prompt["weight_pct"] == 100 else f"{prompt['weight_pct']:g} % "
        yield _line(4, f"prompt {name}  {share}{prompt['ref']}", "dim")
    if endpoint["gateway_problem"]:
        yield _line(4, f"gateway: {endpoint['gateway_problem']}", "red")
    if endpoint["rollout"]:
        yield from _rollout(endpoint["address"], endpoint["rollout"])


def _rollout(address: str, rollout: Json) -> Iterator[RenderableType]:
    environment, _, name = address.split("/")
    by = f"by {owner_words(rollout['owner'])}" if rollout["owner"] else "by nobody at the moment"
    yield _line(4, f"rollout {rollout['id']}", "yellow")
    yield _line(6, f"{rollout['phase']} at {rollout['weight_pct']:g} %, {by}", "yellow")
    if rollout["reason"]:
        yield _line(6, rollout["reason"])
    for report in rollout.get("reports", []):
        yield _line(6, f"report: {report}", "dim")
    ask = f"{environment} --endpoint {name} --reason WHY"
    if rollout["phase"] == "paused":
        yield _line(6, f"go on:   sluice resume {ask}")
        yield _line(6, f"go back: sluice abort {ask}")
        yield _line(6, f"past gates and judge: sluice promote {ask}")
    elif not rollout["owner"]:
        yield _line(6, f"go on:   sluice apply {environment} --yes")
        yield _line(6, f"go back: sluice abort {ask}")


def _line(indent: int, words: str, style: str = "") -> RenderableType:
    return Padding(Text(words, style=style), (0, 0, 0, indent), expand=False)
