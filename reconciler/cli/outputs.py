"""`sluice outputs`: where clients call the endpoints. Reads the environment file alone."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.common import environment_options, json_option, load_environment, print_json


@click.command()
@environment_options
@json_option
def outputs(env: str | None, file: Path | None, as_json: bool) -> int:
    """Print each endpoint's address: what an OpenAI client takes as its base_url."""
    from reconciler.core.outputs import outputs_of

    spec = load_environment(env, file).spec
    found = outputs_of(spec)
    if as_json:
        listed = [{"address": str(each.address), "url": each.url, "how": each.how} for each in found]
        print_json({"environment": spec.environment, "outputs": listed})
        return 0
    width = max(len(str(each.address)) for each in found)
    for each in found:
        click.echo(f"{each.address!s:{width}}  {each.url or each.how}")
    return 0
