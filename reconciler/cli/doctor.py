"""`sluice doctor`: what is missing on this machine and how to get it."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.common import environment_options, json_option, load_environment, print_json


@click.command()
@environment_options
@json_option
def doctor(env: str | None, file: Path | None, as_json: bool) -> int:
    """Say what is missing on this machine and how to get it; with ENV, also what that environment needs."""
    from environments.find import environments_folder
    from reconciler.compose import home_of
    from reconciler.operations.doctor import examine
    from reconciler.platforms.kinds import platform_kind

    loaded = load_environment(env, file) if env or file else None
    root = loaded.root if loaded else environments_folder().absolute().parent
    checks = examine(loaded, home_of(root), platform_kind)
    if as_json:
        print_json({"checks": [vars(check) for check in checks]})
    else:
        for check in checks:
            click.echo(
                f"{check.state:8} {check.name:22} {check.found}" + (f"\n{'':9}do: {check.do}" if check.do else "")
            )
    return 1 if any(check.state == "missing" for check in checks) else 0
