"""`sluice demo`: the tour on real servers. Imports the demo when called."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--cache", type=click.Path(path_type=Path), default=None, help="Where to keep what is installed [.cache]."
)
def demo(cache: Path | None) -> int:
    """Watch a good release pass three gates, and each gate stop one that is bad.

    Installs vLLM for CPU (5.8 GB, once), starts MLflow, two vLLM servers at a time and Envoy, sends streaming traffic,
    and ends everything again. Exits 0 when the good release was promoted, each bad one rolled back, no request lost.
    """
    from environments.find import environments_folder
    from reconciler.demo.tour import tour

    repository = environments_folder(environ={}).absolute().parent
    return tour((cache or repository / ".cache").absolute(), repository, lambda line: click.echo(line))
