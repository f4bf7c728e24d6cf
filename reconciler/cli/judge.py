"""`sluice judge`: judge recorded ticks again, write them out, measure an endpoint's noise and remember it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from environments.errors import SluiceError
from reconciler.cli.common import environment_options, json_option, load_environment, print_json, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.core.judge import JudgeSettings, LearnedNoise, Tick
    from reconciler.evidence.recorded_ticks import Wanted


@click.group()
def judge() -> None:
    """Replay recorded ticks and export them; learn the noise of an endpoint."""


@judge.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="YAML: a `judge:` block's content.")
@click.option("--env", "env", help="Take the settings of this environment's --endpoint.")
@click.option("-f", "file", type=click.Path(path_type=Path), help="An environment file instead of --env.")
@click.option("--endpoint", help="Whose settings.")
@click.option("--explain", is_flag=True, help="Show how the evidence grew against both limits.")
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw the evidence of the last file.")
@json_option
def replay(
    files: tuple[Path, ...],
    settings_file: Path | None,
    env: str | None,
    file: Path | None,
    endpoint: str | None,
    **flags: object,
) -> int:
    """Judge recorded ticks, one JSON line a tick; answers in order, one line a file."""
    from reconciler.core.judge import replay as judged_again

    settings, as_json = _settings(settings_file, env, file, endpoint), bool(flags["as_json"])
    for path in files:
        found = judged_again(_ticks(path), settings)
        if flags["explain"] or flags["png"]:
            _explain(path, settings, None if as_json or not flags["explain"] else click.echo, flags["png"])
        answer = {
            "file": str(path),
            "verdict": str(found.verdict),
            "decided_at_s": found.decided_at_s,
            "evidence": found.evidence,
            "exposed_requests": found.exposed_requests,
            "sentence": found.sentence,
        }
        if as_json:
            click.echo(json.dumps(answer, sort_keys=True, ensure_ascii=False))
        else:
            when = "" if found.decided_at_s is None else f" at {found.decided_at_s:g} s"
            click.echo(f"{path}: {found.verdict}{when}, {found.exposed_requests} requests exposed: {found.sentence}")
    return 0


@judge.command()
@environment_options
@click.option("--endpoint", required=True, help="Whose noise.")
@click.option("--region", help="Where; the first region with ticks when not given.")
@click.option(
    "--rollout", "rollout_id", help="Whose ticks; those of the newest rollout that was promoted when not given."
)
@json_option
def learn(
    env: str | None, file: Path | None, endpoint: str, region: str | None, rollout_id: str | None, as_json: bool
) -> int:
    """Measure `noise` from a rollout whose challenger was as good as its champion, and say how sure it is.

    What the two releases always differ by is taken out; what comes and goes is the machines'. The figure goes into the
    ledger; `noise: learned` in the endpoint's `judge` block uses the newest one.
    """
    learned_from, found = with_ports(
        env, file, lambda composed: _learn(composed, _wanted(composed, endpoint, region, rollout_id))
    )
    if as_json:
        print_json({**vars(found), "assumed": found.assumed, "rollout": learned_from})
    else:
        span = f"between {found.low:.3f} and {found.high:.3f} with 90 % confidence, {found.blocks} minutes"
        click.echo(
            f"noise {found.sigma:.3f} ({span} of {learned_from}); the judge will reckon with {found.assumed:.3f}"
        )
    return 0


@judge.command()
@environment_options
@click.option("--endpoint", required=True, help="Whose ticks.")
@click.option("--region", help="Where; needed when several regions have ticks.")
@click.option("--rollout", "rollout_id", help="Whose; the newest rollout that has ticks when not given.")
def export(env: str | None, file: Path | None, endpoint: str, region: str | None, rollout_id: str | None) -> int:
    """Write the ticks of a rollout, one JSON line a tick, as `judge replay` reads them."""
    from reconciler.evidence.recorded_ticks import recorded_ticks

    recorded = with_ports(
        env,
        file,
        lambda composed: recorded_ticks(composed.store, _wanted(composed, endpoint, region, rollout_id)),
    )
    for tick in recorded.ticks:
        click.echo(json.dumps(tick, sort_keys=True))
    return 0


def _explain(path: Path, settings: JudgeSettings, echo: Callable[[str], None] | None, png: object) -> None:
    from reconciler.output.evidence_plot import evidence_lines, moments_of, write_png

    moments = moments_of(_ticks(path), settings)
    for line in evidence_lines(moments) if echo else ():
        click.echo(line)
    if isinstance(png, Path):
        write_png(moments, png, path.name)


def _ticks(path: Path) -> Iterator[Tick]:
    from reconciler.core.judge import tick_from_json

    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SluiceError("JUDGE-010", where=str(path), what=f"the ticks cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise SluiceError(
                "JUDGE-001", where=where, what="this line is not JSON", why=str(error), do="write one tick a line"
            ) from error
        yield tick_from_json(record, where)


def _settings(settings_file: Path | None, env: str | None, file: Path | None, endpoint: str | None) -> JudgeSettings:
    from reconciler.core.judge import JudgeSettings, settings_from_mapping

    if settings_file:
        return settings_from_mapping(_yaml(settings_file), where=str(settings_file))
    if not (env or file):
        return JudgeSettings()
    from environments.errors import nearest

    spec = load_environment(env, file).spec
    if endpoint not in spec.endpoints:
        raise SluiceError(
            "PLAN-004",
            where=spec.environment,
            what=f'there is no endpoint "{endpoint}"',
            do=f"name one with --endpoint ({nearest(endpoint or '', spec.endpoints)})",
        )
    from reconciler.core.judge_block import judge_settings
    from reconciler.core.model.settings import settings_of

    return judge_settings(settings_of(spec.endpoints[endpoint]))


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SluiceError("JUDGE-010", where=str(path), what=f"the settings cannot be read: {error}") from error
    if not isinstance(found, dict | None):
        raise SluiceError(
            "JUDGE-004", where=str(path), what="the settings are not a mapping", do="write `alpha: 0.01` and so on"
        )
    return found or {}


async def _learn(composed: Composed, wanted: Wanted) -> tuple[str, LearnedNoise]:
    from environments.names import Address
    from reconciler.core.events import NoiseLearned
    from reconciler.core.judge import learn as learned
    from reconciler.core.judge import tick_from_json
    from reconciler.engine.owner import operator_name
    from reconciler.evidence.recorded_ticks import promoted_ticks
    from reconciler.ports import entry_of

    recorded = await promoted_ticks(composed.store, wanted)
    found = learned((tick_from_json(tick) for tick in recorded.ticks), same_release=False)
    await composed.store.append(
        entry_of(
            NoiseLearned(
                Address.everywhere(wanted.environment, wanted.endpoint),
                found.sigma,
                found.blocks,
                {**vars(found), "assumed": found.assumed, "rollout": recorded.rollout},
            ),
            now=time.time(),
            actor=operator_name(),
        )
    )
    return recorded.rollout, found


def _wanted(composed: Composed, endpoint: str, region: str | None, rollout: str | None) -> Wanted:
    from environments.errors import nearest
    from reconciler.evidence.recorded_ticks import Wanted

    spec = composed.loaded.spec
    for kind, name, known in (("endpoint", endpoint, spec.endpoints), ("region", region, spec.regions)):
        if name is not None and name not in known:
            what, do = f'there is no {kind} "{name}"', f"name one with --{kind} ({nearest(name, known)})"
            raise SluiceError("PLAN-004", where=spec.environment, what=what, do=do)
    return Wanted(spec.environment, endpoint, region, rollout)
