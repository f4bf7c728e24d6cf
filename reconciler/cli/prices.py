"""`sluice prices`: what plans take machines to cost, how old that is, and where it comes from; `refresh` asks AWS."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import environment_options, json_option, load_environment, print_json

if TYPE_CHECKING:
    from datetime import date

    from environments.prices import PriceBook
    from environments.spec import EnvironmentSpec


@click.group(invoke_without_command=True)
@click.option("--region", help="Only this AWS region.")
@json_option
@click.pass_context
def prices(context: click.Context, region: str | None, as_json: bool) -> None:
    """Show the prices of machines that plans use, with their age and source; `refresh` reads them from AWS."""
    if context.invoked_subcommand:
        return
    from environments.prices import UNKNOWN, book_to_json

    book, today = _book(), _today()
    if as_json:
        print_json({**book_to_json(book), "version": book.version, "age_days": book.age_days(today)})
        return
    rows = [row for row in book.rows if region in (None, row.region)]
    for row in rows:
        usd = UNKNOWN if row.usd_per_hour is None else f"{row.usd_per_hour:.4f}"
        reason = f"  {row.reason}" if row.reason else ""
        click.echo(f"{row.service:9} {row.region:15} {row.instance:14} {usd:>9}  {row.date}  {row.source}{reason}")
    for name in sorted({row.source for row in rows}):
        click.echo(f"{name}: {book.sources[name]}")
    click.echo(f"{len(rows)} prices in USD an hour, {book.version}, the oldest {book.age_days(today)} days old")


@prices.command()
@environment_options
@json_option
def refresh(env: str | None, file: Path | None, as_json: bool) -> None:
    """Read the prices of the machines that environments name from AWS, and keep them beside the environment files.

    Without ENV, of every environment in the folder. Needs boto3 and pricing:GetProducts, and changes nothing in AWS.
    """
    from environments.find import environments_folder, find, known_environments
    from environments.prices import FILE, book_text
    from reconciler.pricing.aws import pricing_client, read_aws
    from reconciler.pricing.price_list import SOURCE, TOLD

    folder = find(env, file=file).parent if env or file else environments_folder()
    names = [env] if env or file else list(known_environments(folder))
    wanted = {each for name in names for each in machines(load_environment(name, file).spec)}
    rows = read_aws(wanted, _today().isoformat(), pricing_client())
    book = _book(folder).with_rows(rows, {SOURCE: TOLD})
    part = folder / f"{FILE}.partial"
    part.write_text(book_text(book), encoding="utf-8")
    part.replace(folder / FILE)
    unknown = [row for row in rows if row.usd_per_hour is None]
    if as_json:
        print_json({"read": len(rows), "unknown": [row.instance for row in unknown], "file": FILE})
        return
    click.echo(
        f"{len(rows) - len(unknown)} prices read from AWS into {FILE}; a plan's digest covers what it uses of them"
    )
    for row in unknown:
        click.echo(f"[?] {row.service} {row.region} {row.instance}: {row.reason}")


def machines(spec: EnvironmentSpec) -> set[tuple[str, str, str]]:
    """Return what an environment's pools in AWS may run on: service, region and type, the other types of a pool too."""
    from environments.prices import AWS_REGION, EC2, SAGEMAKER

    return {
        (SAGEMAKER if region.platform == "sagemaker" else EC2, name, instance)
        for name, region in spec.regions.items()
        if AWS_REGION.fullmatch(name)
        for pool in region.gpu_pools.values()
        for instance in (pool.instance, *pool.instances)
    }


def _book(folder: Path | None = None) -> PriceBook:
    from environments.find import environments_folder
    from environments.prices import prices_beside

    return prices_beside(folder or environments_folder())


def _today() -> date:
    return datetime.fromtimestamp(time.time(), UTC).date()
