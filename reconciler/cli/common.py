"""Options and steps that commands share: which environment, which part of it, as JSON or for people.

Imports click and `environments`; the rest when called.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from environments.load import Loaded
    from reconciler.compose import Composed

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def environment_options(function: F) -> F:
    """Add the argument ENV and the option `-f`."""
    function = click.option(
        "-f", "file", type=click.Path(path_type=Path, dir_okay=False), help="An environment file instead of ENV."
    )(function)
    return click.argument("env", required=False)(function)


def scope_options(function: F) -> F:
    """Add `--endpoint` and `--region`, which narrow and may be repeated."""
    function = click.option("--region", "regions", multiple=True, help="Only this region; may be repeated.")(function)
    return click.option("--endpoint", "endpoints", multiple=True, help="Only this endpoint; may be repeated.")(function)


def json_option(function: F) -> F:
    """Add `--json`: one object on stdout and nothing else."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def load_environment(env: str | None, file: Path | None) -> Loaded:
    """Return the environment that ENV or `-f` names, checked."""
    from environments.find import find, reachable
    from environments.load import load

    return load(find(env, file=file), policy_ids=policy_ids(), shown=reachable)


def policy_ids() -> frozenset[str]:
    """Return the ids of all policies, against which overrides are checked."""
    from policies.catalog import known_ids

    return known_ids()


def with_ports(env: str | None, file: Path | None, work: Callable[[Composed], Awaitable[T]]) -> T:
    """Open an environment's ports, run `work` with them, and close them."""
    from reconciler.compose import compose

    async def opened() -> T:
        _heed_sigterm()
        composed = compose(load_environment(env, file))
        try:
            return await work(composed)
        finally:
            await composed.close()

    try:
        return asyncio.run(opened())
    except asyncio.CancelledError:  # by SIGTERM; asyncio itself tells SIGINT as KeyboardInterrupt
        raise KeyboardInterrupt from None


def _heed_sigterm() -> None:
    """Let SIGTERM interrupt the work where SIGINT is ignored, as in a script's background and below `nohup`.

    Elsewhere `main` passes it on as SIGINT, for which asyncio has a handler of its own.
    """
    task = asyncio.current_task()
    if task is not None and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def print_json(value: object) -> None:
    """Print one JSON object with sorted keys."""
    sys.stdout.flush()
    rest = memoryview((json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode())
    while rest:
        # With PYTHONUNBUFFERED a pipe takes what fits (64 KiB) and says how much; print() would drop the rest.
        rest = rest[sys.stdout.buffer.write(rest) :]
    sys.stdout.buffer.flush()
