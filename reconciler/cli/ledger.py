"""`sluice ledger`: check the hash chain and signed heads, export entries, keep a signed head elsewhere. Reads only."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from environments.errors import SluiceError
from reconciler.cli.common import environment_options, json_option, print_json, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.core.attest.dsse import Envelope
    from reconciler.core.attest.heads import Doubt, Found
    from reconciler.core.attest.statement import SignedHead
    from reconciler.operations.anchor import Checked


@click.group()
def ledger() -> None:
    """Verify, anchor or export the ledger."""


@ledger.command()
@environment_options
@click.argument("more", nargs=-1, type=click.Path(path_type=Path, dir_okay=False), metavar="")
@click.option(
    "--anchors",
    multiple=True,
    metavar="FILE…",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Compare with heads that `ledger anchor` wrote; several files may follow.",
)
@json_option
def verify(env: str | None, file: Path | None, more: tuple[Path, ...], anchors: tuple[Path, ...], as_json: bool) -> int:
    """Check that no entry was changed, removed or reordered; exits 1 and names the first that was.

    A chain that was written anew as a whole is whole. Heads that were signed tell it: those that stand in the ledger,
    where the environment file's `ledger.keys` say whom to believe, and anchors that were kept elsewhere.
    """
    if more and not anchors:
        raise click.UsageError("more than one ENV; anchors follow --anchors", click.get_current_context())
    kept = [found for path in (*anchors, *more) for found in _anchors(path)]
    environment, found = with_ports(env, file, lambda composed: _verify(composed, kept))
    good = found.chain.ok and not found.heads.doubts
    if as_json:
        print_json({"environment": environment, **vars(found.chain), **_heads_json(found), "ok": good})
        return 0 if good else 1
    _refuse(environment, found)
    signed = f"; {len(found.heads.good)} signed heads are in it" if found.heads.good else ""
    click.echo(f"{environment}: {found.chain.checked} entries, the chain is whole{signed}")
    return 0


@ledger.command()
@environment_options
@click.option(
    "-o",
    "out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Add the head to this file.",
)
@json_option
def anchor(env: str | None, file: Path | None, out: Path, as_json: bool) -> int:
    """Sign the ledger's head as it is now, for a place where whoever writes to the database cannot write.

    Each call adds a line to the file. Keep it in git, in a bucket with a lock, or with an auditor, and compare with
    `sluice ledger verify ENV --anchors FILE`. Signs with the environment file's `ledger.sign_with`, or with the key
    that SLUICE_LEDGER_KEY names.
    """
    from reconciler.cli.approvals import write_bundle

    kept = tuple(found.envelope for found in _anchors(out)) if out.exists() else ()
    head, envelope = with_ports(env, file, _anchored)
    write_bundle(out, (*kept, envelope))
    if as_json:
        print_json(vars(head))
    else:
        click.echo(f"{head.environment}: the ledger up to entry {head.seq} is signed, in {out}")
    return 0


@ledger.command()
@environment_options
@json_option
def export(env: str | None, file: Path | None, as_json: bool) -> int:
    """Print every entry, oldest first: a JSON line each, or one object with `--json`."""
    with_ports(env, file, lambda composed: _export(composed, as_json=as_json))
    return 0


def _anchors(path: Path) -> Sequence[Found]:
    from reconciler.core.attest.dsse import bundle_from_text
    from reconciler.core.attest.heads import Found

    try:
        found = bundle_from_text(path.read_text())
    except (OSError, ValueError) as error:
        raise _not_an_anchor(str(path), str(error)) from error
    if not found:
        raise _not_an_anchor(str(path), "it is empty")
    return [Found(str(path), envelope) for envelope in found]


async def _verify(composed: Composed, anchors: Sequence[Found]) -> tuple[str, Checked]:
    from reconciler.operations.anchor import believed, check
    from reconciler.signing.check import verify as check_signature

    spec = composed.loaded.spec
    keys = await believed(spec.ledger, composed.ledger_signer() if anchors else None)
    return spec.environment, await check(composed.store, spec.environment, anchors, keys, check_signature)


async def _anchored(composed: Composed) -> tuple[SignedHead, Envelope]:
    from reconciler.engine.heads import signed_head

    environment, signer = composed.loaded.spec.environment, composed.ledger_signer()
    found = await signed_head(composed.store, signer, environment, now=time.time()) if signer else None
    if found is None:
        raise SluiceError(
            "LEDGER-004",
            where=environment,
            what="there is nothing to sign" if signer else "no key signs the ledger",
            why="the ledger has no entry yet" if signer else "an anchor that nobody signed proves nothing",
            do="sluice apply first" if signer else "add `ledger: {sign_with: …}`, or export SLUICE_LEDGER_KEY=FILE",
        )
    return found


def _refuse(environment: str, found: Checked) -> None:
    if not found.chain.ok:
        raise SluiceError(
            "LEDGER-001",
            where=f"{environment} entry {found.chain.seq}",
            what=found.chain.problem or "the chain is broken",
            why="each entry's hash covers the one before it, so the ledger was edited outside Sluice or damaged",
            do="restore the database from a backup, and find out who could write to it",
        )
    for doubt in sorted(found.heads.doubts, key=lambda each: not each.rewritten):
        raise _rewritten(environment, doubt) if doubt.rewritten else _not_an_anchor(doubt.where, doubt.what)


def _rewritten(environment: str, doubt: Doubt) -> SluiceError:
    return SluiceError(
        "LEDGER-002",
        where=f"{environment}, {doubt.where}",
        what=f"the ledger is not the one that was signed: {doubt.what}",
        why="a chain that fits together and differs from a signed head was written anew",
        do="restore the database from a backup, and find out who could write to it",
    )


def _not_an_anchor(where: str, why: str) -> SluiceError:
    return SluiceError(
        "LEDGER-003",
        where=where,
        what="this head proves nothing",
        why=why,
        do="give a file that `sluice ledger anchor` wrote, and list its key in the environment file's `ledger.keys`",
    )


def _heads_json(found: Checked) -> dict[str, object]:
    return {
        "heads": [vars(head) for head in found.heads.good],
        "doubts": [vars(doubt) for doubt in found.heads.doubts],
    }


async def _export(composed: Composed, *, as_json: bool) -> None:
    from reconciler.cli.status import entry_json

    environment = composed.loaded.spec.environment
    if as_json:
        found = [entry_json(entry) async for entry in composed.store.entries(environment)]
        print_json({"environment": environment, "entries": found})
        return
    async for entry in composed.store.entries(environment):
        click.echo(json.dumps(entry_json(entry), sort_keys=True, ensure_ascii=False))
