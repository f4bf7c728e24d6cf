"""`sluice init`: writes a repository of one's own, or shows what a newer version would write there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from environments.errors import SluiceError
from reconciler.cli.common import print_json

if TYPE_CHECKING:
    from reconciler.operations.new_repository.begin import Found

_WORDS = {
    "new": "new: this version has it",
    "newer": "newer: you did not touch it",
    "yours": "yours: stays as it is",
    "both": "both: you changed it and so did Sluice; merge by hand",
    "left": "left: Sluice does not write it any more",
}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--owner", default="ml-platform", show_default=True, help="The team that owns the environments.")
@click.option("--upgrade", "upgrading", is_flag=True, help="Show what this version would write otherwise.")
@click.option("--yes", is_flag=True, help="With --upgrade: write what nobody changed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def init(folder: Path, owner: str, upgrading: bool, yes: bool, as_json: bool) -> int:
    """Write a repository of your own into FOLDER: environments, thin Pulumi projects, workflows, a policy pack."""
    from importlib.metadata import version

    from reconciler.operations.new_repository.begin import begin
    from reconciler.operations.new_repository.files import Answers

    if upgrading:
        return _upgrade(folder, version("sluice"), yes=yes, as_json=as_json)
    if not _is_name(owner):
        raise SluiceError(
            "INIT-003",
            where="--owner",
            what=f'"{owner}" is no name of a team',
            why="it becomes a key and a label: letters, digits and hyphens, beginning with a letter, 63 at most",
            do="--owner ml-platform",
        )
    written = begin(folder, Answers(version("sluice"), owner))
    if as_json:
        print_json({"folder": str(folder), "files": written})
        return 0
    click.echo("\n".join(f"  {path}" for path in written))
    here = "" if folder == Path(".") else f"cd {folder} && "
    click.echo(f"\n{len(written)} files. Next:\n  {here}git init && git add . && git commit -m 'Begin with Sluice'")
    click.echo("  make install\n  $EDITOR environments/dev.yaml\n  make plan        # what your change would do")
    return 0


def _upgrade(folder: Path, version: str, *, yes: bool, as_json: bool) -> int:
    from reconciler.operations.new_repository.begin import State, compare, upgrade

    answers, found = compare(folder, version)
    other = [each for each in found if each.state is not State.SAME]
    written = upgrade(folder, answers, found) if yes else []
    if as_json:
        listed = [{"path": each.path, "state": each.state.value} for each in other]
        print_json({"folder": str(folder), "version": version, "files": listed, "written": written})
        return 0
    for each in other:
        click.echo(f"{each.path}  ({_WORDS[each.state.value]})")
        if each.safe or each.state is State.BOTH:
            click.echo(_difference(each))
    ready = sum(each.safe for each in other)
    if not other:
        click.echo(f"nothing differs from what Sluice {version} writes")
    elif yes:
        click.echo(f"{len(written)} files written; `git diff` shows them")
    elif ready:
        click.echo(f"{ready} files can be written without taking anything from you: sluice init --upgrade --yes")
    return 0


def _difference(each: Found) -> str:
    import difflib

    before, after = (each.here or "").splitlines(), (each.wanted or "").splitlines()
    lines = difflib.unified_diff(before, after, f"{each.path} (here)", f"{each.path} (this version)", lineterm="", n=2)
    return "\n".join(f"    {line}" for line in lines)


def _is_name(owner: str) -> bool:
    import re

    return re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", owner) is not None
