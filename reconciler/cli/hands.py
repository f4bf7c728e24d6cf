"""A person's hand on a rollout: rollback, pause, resume, abort, promote; each is in the ledger with who and why."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from environments.errors import SluiceError
from reconciler.cli.common import environment_options, json_option, print_json, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.core.rollout import Rollout

EXIT_STOPPED = 4


def _hand_options(function: Callable[..., int]) -> Callable[..., int]:
    function = click.option("--reason", required=True, help="Why; it stands in the ledger.")(function)
    function = click.option("--endpoint", "endpoint", required=True, help="Whose rollout.")(function)
    return environment_options(json_option(function))


@click.command()
@_hand_options
def pause(env: str | None, file: Path | None, endpoint: str, reason: str, as_json: bool) -> int:
    """Hold a rollout where it is; its weights stay, and a bad challenger still rolls back."""
    from reconciler.core.after import paused

    return with_ports(env, file, lambda c: _hand(c, "pause", endpoint, lambda r: paused(r, reason), as_json=as_json))


@click.command()
@_hand_options
def resume(env: str | None, file: Path | None, endpoint: str, reason: str, as_json: bool) -> int:
    """Let a paused rollout go on with its step's full time, and drive it unless someone else does."""
    from reconciler.core.after import resumed

    now = time.time()
    return with_ports(
        env, file, lambda c: _hand(c, "resume", endpoint, lambda r: resumed(r, now), as_json=as_json, why=reason)
    )


@click.command()
@_hand_options
def abort(env: str | None, file: Path | None, endpoint: str, reason: str, as_json: bool) -> int:
    """Roll a rollout back in every region."""
    from reconciler.core.after import aborted

    return with_ports(env, file, lambda c: _hand(c, "abort", endpoint, lambda r: aborted(r, reason), as_json=as_json))


@click.command()
@_hand_options
def promote(env: str | None, file: Path | None, endpoint: str, reason: str, as_json: bool) -> int:
    """Promote a rollout past gates, judge and bake; a denying policy still forbids it."""
    from reconciler.core.after import promoted_by_hand

    async def work(composed: Composed) -> int:
        await _refuse_denied(composed, endpoint)
        now = time.time()
        return await _hand(composed, "promote", endpoint, lambda r: promoted_by_hand(r, reason, now), as_json=as_json)

    return with_ports(env, file, work)


@click.command()
@environment_options
@click.option("--endpoint", "endpoints", multiple=True, help="Only this endpoint; may be repeated.")
@click.option("--region", "regions", multiple=True, help="Only this region; may be repeated.")
@click.option("--to", "release", help="This release instead of the last good one.")
@click.option("--reason", default="rolled back by hand", show_default=True, help="Why; it stands in the ledger.")
@json_option
def rollback(
    env: str | None,
    file: Path | None,
    endpoints: tuple[str, ...],
    regions: tuple[str, ...],
    release: str | None,
    reason: str,
    as_json: bool,
) -> int:
    """Return to the last good release: a weight, not a cold start, while its slot is warm.

    A rollout in flight is rolled back; otherwise the release that served before is brought back in every region.
    """
    from reconciler.core.plan import Scope

    scope = Scope(tuple(sorted(endpoints)), tuple(sorted(regions)))
    return with_ports(env, file, lambda c: _rollback(c, scope, release, reason, as_json=as_json))


async def _hand(
    composed: Composed,
    kind: str,
    endpoint: str,
    change: Callable[[Rollout], Rollout],
    *,
    as_json: bool,
    why: str | None = None,
) -> int:
    """Write a person's wish into the rollout and the ledger; drive it here unless its owner is alive."""
    from reconciler.core.rollout import rollout_from_json, rollout_to_json

    environment = composed.loaded.spec.environment
    for attempt in range(5):
        active = await composed.store.rollouts(environment, endpoint=endpoint, active=True, limit=1)
        if not active:
            raise SluiceError(
                "ROLL-002",
                where=f"{environment}/*/{endpoint}",
                what="there is no rollout in flight",
                do=f"sluice status {environment}",
            )
        rollout = change(rollout_from_json(active[0].body))
        try:
            await composed.store.save_rollout(active[0], rollout_to_json(rollout), active=True, lease=None)
        except SluiceError as error:
            if error.code != "STORE-002" or attempt == 4:
                raise
            continue
        break
    await _said(composed, kind, rollout, why or rollout.reason)
    return (
        await _drive(composed, rollout, as_json=as_json) if kind != "pause" else _told(rollout, kind, as_json=as_json)
    )


async def _said(composed: Composed, kind: str, rollout: Rollout, why: str) -> None:
    from reconciler.record import timestamp

    await composed.store.append(
        rollout.environment,
        at=timestamp(time.time()),
        actor=getpass.getuser(),
        kind=f"hand:{kind}",
        address=f"{rollout.environment}/*/{rollout.endpoint}",
        summary=f"{kind} by {getpass.getuser()}: {why}",
        rollout=rollout.id,
        body={"reason": why},
    )


def _told(rollout: Rollout, kind: str, *, as_json: bool) -> int:
    if as_json:
        print_json({"rollout": rollout.id, "endpoint": rollout.endpoint, "phase": str(rollout.phase), "intent": kind})
    else:
        click.echo(
            f"{rollout.endpoint}: {kind} is noted for rollout {rollout.id}; its owner acts on it at its next tick"
        )
    return 0


async def _drive(composed: Composed, rollout: Rollout, *, as_json: bool) -> int:
    from reconciler.apply import Applier
    from reconciler.cli.apply import outcome_json
    from reconciler.core.rollout import Intent, Phase
    from reconciler.output.console import console
    from reconciler.output.progress import Progress

    with Progress(console(stderr=as_json)) as progress:
        applier = Applier(composed.workshop(), composed.planner(), watch=progress.watch, notice=progress.notice)
        try:
            outcome = await applier.resume(rollout)
        except SluiceError as error:
            if error.code != "LEASE-001":
                raise
            return _told(rollout, str(rollout.intent), as_json=as_json)
    if as_json:
        print_json(outcome_json(outcome))
    else:
        console().print(outcome.summary, markup=False)
    wanted = Phase.ROLLED_BACK if rollout.intent is Intent.ABORT else Phase.PROMOTED
    return 0 if outcome.rollout and outcome.rollout.phase is wanted else EXIT_STOPPED


async def _refuse_denied(composed: Composed, endpoint: str) -> None:
    from reconciler.core.plan import Scope

    plan = await composed.planner().plan(Scope((endpoint,), ()), now=time.time())
    if plan.denied:
        first = plan.denied[0]
        raise SluiceError(
            "POLICY-001", where=first.address, what=f"{first.policy}: {first.message}",
            why="promote never skips a denying policy", do=f"sluice policy explain {first.policy}",
        )  # fmt: skip


async def _rollback(composed: Composed, scope: object, release: str | None, reason: str, *, as_json: bool) -> int:
    from reconciler.apply import Applier
    from reconciler.cli.apply import outcome_json
    from reconciler.core.after import aborted
    from reconciler.core.plan import Scope
    from reconciler.core.rollout import Phase
    from reconciler.output.console import console
    from reconciler.output.progress import Progress
    from reconciler.planning import active_rollouts, check_scope
    from reconciler.rollback import begin_rollback, live_groups

    if not isinstance(scope, Scope):
        raise TypeError("scope")
    check_scope(composed.loaded.spec, scope)
    environment = composed.loaded.spec.environment
    active = await active_rollouts(composed.store, environment)
    code, printed = 0, []
    for name, live in (await live_groups(composed.planner(), scope)).items():
        if name in active and release is None:
            code = max(code, await _hand(composed, "abort", name, lambda r: aborted(r, reason), as_json=as_json))
            continue
        begin = await begin_rollback(composed.store, live, release, reason, getpass.getuser(), composed.loaded.spec)
        with Progress(console(stderr=as_json)) as progress:
            applier = Applier(composed.workshop(), composed.planner(), watch=progress.watch, notice=progress.notice)
            outcome = await applier.run(name, begin)
        if outcome.rollout:
            await _said(composed, "rollback", outcome.rollout, reason)
        printed.append(outcome_json(outcome))
        good = outcome.rollout is not None and outcome.rollout.phase is Phase.PROMOTED
        code = code if good else EXIT_STOPPED
        if not as_json and outcome.rollout:
            told = f"{name}: serves {outcome.rollout.challenger.id} again" if good else outcome.summary
            console().print(told, markup=False)
    if as_json and printed:
        print_json({"environment": environment, "outcomes": printed})
    return code
