"""`sluice demo`: the tour on real servers. Imports the demo when called."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--cache", type=click.Path(path_type=Path), default=None, help="Where to keep what is installed [.cache]."
)
def demo(cache: Path | None) -> int:
    """Watch a release promoted and a bad one rolled back, on real servers.

    Installs vLLM for CPU (5.8 GB, once), starts MLflow, two vLLM servers and Envoy, sends streaming traffic, and ends
    everything again. Exits 0 when the good release was promoted, the slow one rolled back and no request lost.
    """
    from environments.find import environments_folder
    from reconciler.demo.tour import tour

    repository = environments_folder(environ={}).absolute().parent
    return tour((cache or repository / ".cache").absolute(), repository, lambda line: click.echo(line))
