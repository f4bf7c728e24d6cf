"""The command `sluice`: a group that imports a command only when it is called, and renders every error.

Imports click and the standard library; commands import the rest.
"""

from __future__ import annotations

import atexit
import gc
import json
import signal
import sys
from collections.abc import Sequence

import click

from environments.errors import SluiceError
from environments.here import thing

_GC_AFTER = 100_000
EXIT_ERROR, EXIT_INTERRUPTED = 1, 130
EXIT_CODES = {"POLICY-001": 3, "PLAN-003": 6}

_COMMANDS = {
    "plan": ("reconciler.cli.plan", "Show what would change, why, and how it would be done."),
    "approve": ("reconciler.cli.approve", "Approve a saved plan with a signature."),
    "apply": ("reconciler.cli.apply", "Carry out a plan: canary, judge, bake, promote or roll back."),
    "status": ("reconciler.cli.status", "Show what serves, what is warm and what is on its way."),
    "outputs": ("reconciler.cli.outputs", "Print where clients call each endpoint."),
    "history": ("reconciler.cli.status", "Show the ledger, newest first."),
    "drift": ("reconciler.cli.drift", "Show where live differs from what the ledger last recorded."),
    "rollback": ("reconciler.cli.operator", "Return to the last good release: a weight while its slot is warm."),
    "pause": ("reconciler.cli.operator", "Hold a rollout where it is."),
    "resume": ("reconciler.cli.operator", "Let a paused rollout go on."),
    "abort": ("reconciler.cli.operator", "Roll a rollout back."),
    "promote": ("reconciler.cli.operator", "Promote a rollout past gates, judge and bake."),
    "adopt": ("reconciler.cli.adopt", "Take over fields of an endpoint's objects that somebody else manages."),
    "models": ("reconciler.cli.models", "Copy models to where servers stream them from."),
    "policy": ("reconciler.cli.policy", "List, explain, check and test policies."),
    "prices": ("reconciler.cli.prices", "Show what machines cost, and read it from AWS."),
    "judge": ("reconciler.cli.judge", "Replay recorded ticks; learn the noise of an endpoint."),
    "gate": ("reconciler.cli.gate", "Ask one gate by itself."),
    "ledger": ("reconciler.cli.ledger", "Verify or export the ledger."),
    "lost-keys": ("reconciler.cli.lost_keys", "Set aside approvers whose keys are lost, after a day."),
    "report": ("reconciler.cli.report", "Write one rollout as an HTML page that stands alone."),
    "schema": ("reconciler.cli.schema", "Print the JSON Schema of the environment file."),
    "doctor": ("reconciler.cli.doctor", "Say what is missing on this machine and how to get it."),
    "init": ("reconciler.cli.init", "Write a repository of your own, or show what a newer version would write."),
    "demo": ("reconciler.cli.demo", "Watch a good release pass three gates, and each gate stop one that is bad."),
    "down": ("reconciler.cli.down", "End every process of a local environment and delete its state."),
}


class _Commands(click.Group):
    """Finds a command in its module when it is asked for, so that `--help` imports nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = thing(f"{entry[0]}:{cmd_name.replace('-', '_')}")
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry[0]}.{cmd_name} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from environments.errors import nearest

            raise SluiceError(
                "CLI-001", what=f'there is no command "{args[0]}"', do=f"sluice --help ({nearest(args[0], _COMMANDS)})"
            )
        return super().resolve_command(ctx, args)


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 error, 2 changes pending, 3 denied by policy, 4 stopped or rolled back by a gate, "
    "5 drift, 6 plan is stale, 130 interrupted and resumable.",
)
@click.version_option(package_name="sluice", message="sluice %(version)s")
def cli() -> None:
    """Plan, canary and roll back LLM releases: declared state in, evidence-gated promotion out."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the contract's code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # A plan makes many objects and drops few: to look through all of them for cycles took a quarter of its time.
    gc.set_threshold(_GC_AFTER, 20, 100)
    # A job that is stopped ends in the same good order as one that is interrupted.
    signal.signal(signal.SIGTERM, _interrupt)
    atexit.register(gc.freeze)  # what is left at the end goes with the process; nobody has to look through it
    sys.exit(run(arguments))


def _interrupt(number: int, frame: object) -> None:
    """Interrupt as Ctrl-C does, also where that is ignored: in a script's background and below `nohup`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are rendered on stderr, as JSON on stdout with `--json`."""
    try:
        result = cli.main(args=arguments, prog_name="sluice", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except SluiceError as error:
        _render(error, as_json="--json" in arguments)
        return EXIT_CODES.get(error.code, EXIT_ERROR)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        usage = SluiceError("CLI-002", what=error.format_message(), do=_help_of(error))
        _render(usage, as_json="--json" in arguments)
        return EXIT_ERROR
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; what was begun can be resumed with the same command", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _closed_pipe()
    except Exception as error:  # noqa: BLE001 - the last resort: no traceback reaches a user
        _render(_unexpected(error), as_json="--json" in arguments)
        return EXIT_ERROR


def _help_of(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context else "sluice --help"


def _closed_pipe() -> int:
    """Leave quietly when whoever read our output has gone (`sluice history | head`)."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _unexpected(error: Exception) -> SluiceError:
    """Return an error for what nobody foresaw, with the traceback in a file of this user's that can be reported."""
    import tempfile
    import traceback

    from environments.redact import redact

    try:
        # A name that nobody can foresee, readable by this user alone.
        with tempfile.NamedTemporaryFile("w", prefix="sluice-crash-", suffix=".txt", delete=False) as kept_in:
            kept_in.write(redact("".join(traceback.format_exception(error))))
        kept = f"send us {kept_in.name}, which holds the traceback, and what you called"
    except OSError as full:
        kept = f"the traceback could not be kept: {full}"
    return SluiceError(
        "INTERNAL-001", what=f"{type(error).__name__}: {error}", why="this is a defect of Sluice", do=kept
    )


def _render(error: SluiceError, *, as_json: bool) -> None:
    if as_json:
        problems = [vars(p) for p in error.problems]
        click.echo(json.dumps({"error": {"code": error.code, "problems": problems}}, sort_keys=True))
    for problem in error.problems:
        click.echo(problem.render(), err=True)


if __name__ == "__main__":
    main()
