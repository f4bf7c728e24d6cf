"""Whether a program knows the words that a page tells it: each asked in its own terms.

`aws` by the service models that it is made from, `sluice` by its commands, `pulumi` by its own help.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import click

from tests.builds.catalog import built
from tests.support.lifeline import missing

# Options that every command of the AWS CLI has, and commands that it has beside the services' own operations.
_AWS_ANYWHERE = frozenset({"--region", "--query", "--output", "--profile"})
_AWS_OWN: Mapping[tuple[str, str], frozenset[str]] = {
    ("eks", "update-kubeconfig"): frozenset({"--name", "--alias", "--role-arn", "--kubeconfig"}),
    ("ecr", "get-login-password"): frozenset(),
    ("s3", "cp"): frozenset({"--recursive", "--exclude", "--include"}),
}


def aws_says(words: Sequence[str], *, whole: bool = True) -> list[str]:
    """Return what is wrong with a command of the AWS CLI; a part of one, in a sentence, may leave things out."""
    service, operation, *rest = words
    options = [word for word in rest if word.startswith("--") and word not in _AWS_ANYWHERE]
    if (service, operation) in _AWS_OWN:
        return [f"{operation} has no {option}" for option in options if option not in _AWS_OWN[(service, operation)]]
    shape = _aws_input(service, operation)
    if isinstance(shape, str):
        return [shape]
    members = {f"--{_kebab(name)}": member for name, member in shape.members.items()}
    found = [f"{operation} has no {option}" for option in options if option not in members]
    if whole:
        needed = {f"--{_kebab(name)}" for name in shape.required_members}
        found += [f"{operation} needs {option}" for option in sorted(needed - set(options))]
    for option, value in itertools.pairwise(rest):
        if option in members:
            found += [f"{option} has no {key}" for key in _keys(value) if not _has(members[option], key)]
    return found


def _aws_input(service: str, operation: str) -> Any:
    """Return the shape of an operation's input, or what is wrong with its name."""
    import botocore.session
    from botocore.exceptions import UnknownServiceError

    try:
        model = botocore.session.get_session().get_service_model("s3" if service == "s3api" else service)
    except UnknownServiceError:
        return f"AWS has no service {service}"
    names = {_kebab(name): name for name in model.operation_names}
    if operation not in names:
        return f"{service} has no operation {operation}"
    return model.operation_model(names[operation]).input_shape


def _kebab(name: str) -> str:
    from botocore import xform_name

    return str(xform_name(name, "-"))


def _keys(value: str) -> Iterator[str]:
    """Yield the keys of the CLI's shorthand, `Key=value,Other=value`."""
    if not value.startswith(("{", "[", "-")):
        yield from (part.partition("=")[0] for part in value.split(",") if "=" in part)


def _has(shape: Any, key: str) -> bool:
    inner = shape.member if shape.type_name == "list" else shape
    return inner.type_name != "structure" or key in inner.members


def sluice_says(words: Sequence[str]) -> list[str]:
    """Return what is wrong with a command of ours: its name, an option, or how many arguments it is given."""
    from reconciler.cli.main import cli

    command: click.Command = cli
    context = click.Context(command, info_name="sluice", **cli.context_settings)
    rest = list(words)
    while isinstance(command, click.Group):
        found = command.get_command(context, rest[0]) if rest else None
        if found is None:
            return [f"sluice has no command {' '.join(words)}"]
        command, rest = found, rest[1:]
        # With the parent's names of --help: click remembers them for the whole process.
        context = click.Context(command, parent=context)
    try:
        command.make_parser(context).parse_args(list(rest))
    except click.UsageError as wrong:
        return [wrong.format_message()]
    return []


def pulumi_says(words: Sequence[str]) -> list[str]:
    """Return what is wrong with a command of Pulumi: its name, or an option that its help does not list."""
    names = [word for word in words if not word.startswith("-")]
    options = [word for word in words if word.startswith("-")]
    known = _help(tuple(names[:2] if names[0] == "stack" else names[:1]))
    if isinstance(known, str):
        return [known]
    return [f"pulumi {names[0]} has no {option}" for option in options if option.partition("=")[0] not in known]


@cache
def _help(names: tuple[str, ...]) -> frozenset[str] | str:
    """Return the options that Pulumi's help lists for a command, or what is wrong with its name."""
    program = built() / "bin" / "pulumi"
    if not program.exists():
        missing("the Pulumi engine is not built", "run `python -m tests.builds.build pulumi`")
    done = subprocess.run([program, *names, "--help"], capture_output=True, text=True, check=False)
    if done.returncode != 0 or names[-1] not in _names(done.stdout):
        return f"there is no pulumi {' '.join(names)}"
    return frozenset(word.rstrip(",") for word in done.stdout.split() if word.startswith("-"))


def _names(text: str) -> set[str]:
    """Return the words under `Usage:` and `Aliases:` of a help page, a command's names among them."""
    found = re.findall(r"^(?:Usage|Aliases):\n((?:  .*\n)+)", text, re.MULTILINE)
    return {word.rstrip(",") for part in found for word in part.split()}
