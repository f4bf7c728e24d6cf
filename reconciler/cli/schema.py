"""`sluice schema`: the JSON Schema of the environment file, for editors and for checks elsewhere."""

from __future__ import annotations

import click

from reconciler.cli.common import print_json


@click.command()
def schema() -> int:
    """Print the JSON Schema of the environment file."""
    from environments.schema import json_schema

    print_json(json_schema())
    return 0
