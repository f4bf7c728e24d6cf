"""The reference of commands, made from the argument parser."""

from __future__ import annotations

from collections.abc import Iterator

import click

from reconciler.cli.main import cli

_HEAD = """# Commands

`sluice COMMAND --help` says the same in a terminal. ENV is the name of a file in `environments/`; `-f FILE` takes its
place.

| exit code | means |
|---|---|
| 0 | done, or nothing to do |
| 1 | error, or something is missing (`doctor`) |
| 2 | changes are pending (`plan --detailed-exitcode`) |
| 3 | denied by policy |
| 4 | stopped or rolled back by a gate |
| 5 | drift |
| 6 | the plan is stale |
| 130 | interrupted; the same command goes on |
"""


def commands_page() -> str:
    """Return docs/reference/commands.md."""
    root = click.Context(cli, info_name="sluice", **cli.context_settings)
    return "\n".join([_HEAD, *_pages(cli, root)])


def _pages(group: click.Command, context: click.Context) -> Iterator[str]:
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        # A context of its parent's: click remembers the names of --help with the command.
        inner = click.Context(command, info_name=name, parent=context)
        yield from _page(command, inner)
        if isinstance(command, click.Group):
            yield from _pages(command, inner)


def _page(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## `{context.command_path}`\n"
    yield "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n")) + "\n"
    if isinstance(command, click.Group):
        return
    usage = command.collect_usage_pieces(context)
    yield f"```\n{context.command_path} {' '.join(usage)}\n```\n"
    rows = [row for parameter in command.params if (row := _row(parameter, context))]
    if rows:
        yield "| option | means |\n|---|---|"
        yield from (f"| `{flags}` | {means} |" for flags, means in rows)
        yield ""


def _row(parameter: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    record = parameter.get_help_record(context)
    if record is None or isinstance(parameter, click.Argument):
        return None
    flags, means = record
    return flags.replace("|", "\\|"), " ".join(means.split()).replace("|", "\\|")
