"""`sluice rollback`, `pause`, `resume`, `abort`, `promote`: an operator steers; the work is in `operations`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from environments.errors import SluiceError
from reconciler.cli.common import environment_options, json_option, print_json, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.core.plan.plan import Scope
    from reconciler.operations.roll_back import Back
    from reconciler.operations.steer import Kind, Steered

EXIT_ERROR = 1
EXIT_STOPPED = 4


def _steering(function: Callable[..., int]) -> Callable[..., int]:
    function = click.option("--reason", required=True, help="Why; it stands in the ledger.")(function)
    function = click.option("--endpoint", "endpoint", required=True, help="Whose rollout.")(function)
    return environment_options(json_option(function))


@click.command()
@_steering
def pause(env: str | None, file: Path | None, endpoint: str, reason: str, as_json: bool) -> int:
    """Hold a rollout: its traffic goes back to the champion, its challenger stays warm, and `resume` goes on."""
    return with_ports(env, file, lambda c: _steer(c, "pause", endpoint, reason, as_json=as_json))


@click.command()
@_steering
def resume(env: str | None, file: Path | None, endpoint: str, reason: str, as_json: bool) -> int:
    """Let a paused rollout go on at its step, and drive it unless someone else does."""
    return with_ports(env, file, lambda c: _steer(c, "resume", endpoint, reason, as_json=as_json))


@click.command()
@_steering
def abort(env: str | None, file: Path | None, endpoint: str, reason: str, as_json: bool) -> int:
    """Roll a rollout back in every region; nothing takes an abort back."""
    return with_ports(env, file, lambda c: _steer(c, "abort", endpoint, reason, as_json=as_json))


@click.command()
@_steering
def promote(env: str | None, file: Path | None, endpoint: str, reason: str, as_json: bool) -> int:
    """Promote a rollout past gates, judge and bake; a denying policy still forbids it."""

    async def work(composed: Composed) -> int:
        await _refuse_denied(composed, endpoint)
        return await _steer(composed, "promote", endpoint, reason, as_json=as_json)

    return with_ports(env, file, work)


@click.command()
@environment_options
@click.option("--endpoint", "endpoints", multiple=True, help="Only this endpoint; may be repeated.")
@click.option("--region", "regions", multiple=True, help="Only this region; may be repeated.")
@click.option("--to", "release", help="This release instead of the last good one.")
@click.option("--reason", default="rolled back by hand", show_default=True, help="Why; it stands in the ledger.")
@click.option("--yes", is_flag=True, help="Do not ask, even where the release has to be loaded first.")
@json_option
def rollback(
    env: str | None,
    file: Path | None,
    endpoints: tuple[str, ...],
    regions: tuple[str, ...],
    release: str | None,
    reason: str,
    yes: bool,
    as_json: bool,
) -> int:
    """Return to the last good release: a weight, not a cold start, while its slot is warm.

    A rollout in flight is rolled back; otherwise the release that served before is brought back in every region.
    """
    from reconciler.core.plan.plan import Scope

    scope = Scope(tuple(sorted(endpoints)), tuple(sorted(regions)))
    return with_ports(env, file, lambda c: _rollback(c, scope, release, reason, yes=yes, as_json=as_json))


async def _steer(composed: Composed, kind: Kind, endpoint: str, reason: str, *, as_json: bool) -> int:
    from reconciler.cli.drive import driving
    from reconciler.operations.steer import Wish, steer

    environment = composed.loaded.spec.environment

    async with driving(composed, as_json=as_json) as drive:
        steered = await drive.finish(steer(composed.store, drive.applier, environment, endpoint, Wish(kind, reason)))
    if as_json:
        print_json(_steered_json(steered))
    else:
        click.echo(_steered_text(steered))
    return _steered_code(steered)


def _steered_code(steered: Steered) -> int:
    from reconciler.core.model.rollout import Phase

    wanted = {"pause": Phase.PAUSED, "abort": Phase.ROLLED_BACK}.get(steered.wish.kind, Phase.PROMOTED)
    done = steered.outcome
    return 0 if done is None or (done.rollout and done.rollout.phase is wanted) else EXIT_STOPPED


def _steered_json(steered: Steered) -> dict[str, object]:
    from reconciler.cli.apply import outcome_json

    rollout = steered.rollout
    noted = {"rollout": rollout.id, "endpoint": rollout.endpoint, "phase": str(rollout.phase)}
    return outcome_json(steered.outcome) if steered.outcome else {**noted, "intent": steered.wish.kind}


def _steered_text(steered: Steered) -> str:
    from reconciler.engine.owner import described
    from reconciler.output.next_moves import next_moves

    rollout, kind = steered.rollout, steered.wish.kind
    if steered.outcome is None:
        who = described(steered.owner) if steered.owner else "its owner"
        return f"{rollout.endpoint}: {kind} is noted for rollout {rollout.id}; {who} acts on it within a second"
    done = steered.outcome.rollout
    return "\n".join([steered.outcome.summary, *(next_moves(done) if done else ())])


async def _refuse_denied(composed: Composed, endpoint: str) -> None:
    from reconciler.core.plan.plan import Scope

    plan = await composed.planner().plan(Scope((endpoint,), ()), now=time.time())
    if plan.denied:
        first = plan.denied[0]
        raise SluiceError(
            "POLICY-001", where=first.address, what=f"{first.policy}: {first.message}",
            why="promote never skips a denying policy", do=f"sluice policy explain {first.policy}",
        )  # fmt: skip


async def _rollback(
    composed: Composed, scope: Scope, release: str | None, reason: str, *, yes: bool, as_json: bool
) -> int:
    from reconciler.cli.drive import driving
    from reconciler.operations.roll_back import RollBack

    async with driving(composed, as_json=as_json) as drive:
        agree = partial(_agree, yes=yes)
        work = RollBack(composed.planner(), composed.store, drive.applier, to=release, reason=reason, agree=agree)
        found = await drive.finish(work.run(scope))
    if as_json:
        outcomes = [_back_json(back) for back in found]
        print_json({"environment": composed.loaded.spec.environment, "outcomes": outcomes})
    else:
        for back in found:
            click.echo(_back_text(back))
    if any(back.outcome and back.outcome.error for back in found):
        return EXIT_ERROR
    return 0 if all(back.good for back in found) else EXIT_STOPPED


def _agree(endpoint: str, release: str, regions: Sequence[str], *, yes: bool) -> None:
    """Ask before a rollback that is no weight: the slot was retired, so a server has to be started and warmed up."""
    import sys

    from reconciler.output.console import in_ci

    where = ", ".join(regions)
    if yes:
        return
    if in_ci() or not sys.stdin.isatty():
        what, do = (
            f"{release} does not run in {where}: going back is a cold load, minutes and not a weight",
            "add --yes",
        )
    elif click.confirm(f"{endpoint}: {release} does not run in {where}; going back is a cold load. Go on?", err=True):
        return
    else:
        what, do = f"{endpoint} is left as it is: {release} would have to be loaded first", "fix forward, or say yes"
    raise SluiceError("ROLL-009", where=endpoint, what=what, why="its slot was retired or taken since", do=do)


def _back_json(back: Back) -> dict[str, object]:
    from reconciler.cli.apply import outcome_json

    if back.steered:
        return _steered_json(back.steered)
    if back.outcome:
        return outcome_json(back.outcome)
    return {"endpoint": back.endpoint, "rollout": None, "release": None, "phase": "none", "reason": back.skipped}


def _back_text(back: Back) -> str:
    if back.steered:
        return _steered_text(back.steered)
    if back.outcome is None:
        return f"{back.skipped}; left as it is"
    done = back.outcome.rollout
    if done and back.outcome.good:
        return f"{back.endpoint}: serves {done.challenger.id} again"
    return back.outcome.summary
