"""`sluice report`: one rollout as an HTML page that stands alone. Reads only; imports outputs when called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import environment_options, json_option, print_json, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.operations.report import Story


@click.command()
@environment_options
@click.option("--rollout", help="Whose report; that of the newest rollout when not given.")
@click.option("-o", "out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Write the page here.")
@json_option
def report(env: str | None, file: Path | None, rollout: str | None, out: Path, as_json: bool) -> int:
    """Write what happened in one rollout, and what proves it.

    The page holds the plan, the time line, the evidence as plots, approvals, lineage, and the check of the ledger. It
    needs nothing from anywhere, runs no script, and shows no secret; it can be mailed and printed.
    """
    from reconciler.output.report_html import report_html

    told = with_ports(env, file, lambda composed: _told(composed, rollout))
    partial = out.with_name(out.name + ".partial")
    partial.write_text(report_html(told), encoding="utf-8")
    partial.replace(out)
    if as_json:
        print_json({"environment": told.rollout.environment, "rollout": told.rollout.id, "file": str(out)})
    else:
        click.echo(f"{out}: rollout {told.rollout.id}, {told.rollout.phase}")
    return 0


async def _told(composed: Composed, rollout: str | None) -> Story:
    from reconciler.operations.anchor import believed, check
    from reconciler.operations.report import story
    from reconciler.signing.check import verify

    spec = composed.loaded.spec
    proof = await check(composed.store, spec.environment, (), await believed(spec.ledger, None), verify)
    return await story(composed.store, spec.environment, rollout, proof)
