"""The status of an environment for a terminal. Imports rich; gets the JSON that `status --json` prints."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from reconciler.core.canonical import Json


def print_status(found: Json, console: Console) -> None:
    """Print what serves and what each slot holds, an endpoint a block."""
    console.print(Text(found["environment"], style="bold"))
    if found.get("unreadable"):
        console.print(Text(f"  cannot be read: {found['unreadable']}", style="yellow"))
    for endpoint in found["endpoints"]:
        _print_endpoint(endpoint, console)
    for gap in found.get("gaps", []):
        console.print(Text(f"  not in this build: {gap}", style="magenta"))


def _print_endpoint(endpoint: Json, console: Console) -> None:
    serving = endpoint["serving"]
    style = "green" if serving else "yellow"
    console.print(Text.assemble(f"  {endpoint['address']}  ", (f"serves {serving or 'nothing'}", style)))
    for name, slot in endpoint["slots"].items():
        if slot["release"] is None:
            continue
        state = "warm" if slot["warm"] else "ready" if slot["ready"] else slot.get("problem") or "not ready"
        console.print(Text(f"    slot {name}  {slot['weight_pct']:5g} %  {slot['release']}  {state}"))
    for name, prompt in endpoint["prompts"].items():
        console.print(Text(f"    prompt {name}  {prompt['weight_pct']:g} % {prompt['ref']}", style="dim"))
    if endpoint["gateway_problem"]:
        console.print(Text(f"    gateway: {endpoint['gateway_problem']}", style="red"))
    rollout = endpoint["rollout"]
    if rollout:
        owner = rollout["owner"] or "nobody at the moment"
        words = f"    rollout {rollout['id']}: {rollout['phase']} at {rollout['weight_pct']:g} % by {owner}"
        console.print(Text(f"{words}  {rollout['reason']}".rstrip(), style="yellow"))
