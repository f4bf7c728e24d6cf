"""Turns a release into the arguments of `vllm serve`, and refuses those that vLLM or Sluice would not have. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from environments.errors import Problem, SluiceError, SpecError
from policies.engine import escapes
from reconciler.core.model.release import Release
from reconciler.runtimes.vllm_arguments import KNOWN, ON_ONLY, OWNED, SPREAD


def check_engine(engine: Mapping[str, Any]) -> None:
    """Refuse arguments that vLLM does not know, that Sluice sets itself, that have no value or leave the release.

    Raises:
        SpecError: `RUN-001`, and `RUN-006` for those that lead to code, files or hosts outside the release; for each of
            them, sorted by name.
    """
    leaving = dict(escapes("vllm", engine))
    found = [_problem(name, value) or _leaving(name, leaving.get(name)) for name, value in sorted(engine.items())]
    if problems := [problem for problem in found if problem]:
        raise SpecError(problems)


def serve_arguments(release: Release, *, paths: Mapping[str, str], host: str, port: int) -> tuple[str, ...]:
    """Return `MODEL_DIR --port N --host HOST --served-model-name ENDPOINT` and the engine arguments.

    Raises:
        SpecError: `RUN-001`, `RUN-006` an engine argument cannot be used.
        SluiceError: `RUN-004` an adapter has no local folder.
    """
    check_engine(release.engine)
    own = ("--port", str(port), "--host", host, "--served-model-name", release.endpoint)
    engine = (part for name, value in sorted(release.engine.items()) for part in _option(name, value))
    return (paths["model"], *own, *engine, *_adapters(release, paths))


def _problem(name: str, value: Any) -> Problem | None:
    where = f"engine.{name}"
    if name in OWNED:
        return Problem(where, "RUN-001", f'engine argument "{name}" is not for a release to set', OWNED[name])
    if name not in KNOWN:
        what = f'vLLM has no engine argument "{name}"'
        return Problem(where, "RUN-001", what, _nearest(name), "use the names of `vllm serve --help=all` in snake_case")
    if value is None:
        what = f'engine argument "{name}" has no value'
        return Problem(where, "RUN-001", what, do="leave the argument out to get vLLM's default")
    return None


def _leaving(name: str, why: str | None) -> Problem | None:
    if why is None:
        return None
    what = f'engine argument "{name}" leads out of the release'
    return Problem(f"engine.{name}", "RUN-006", what, why, "leave it out; `sluice policy explain REL-005` says more")


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name.replace("-", "_").lower(), KNOWN, n=3, cutoff=0.6)
    return f"nearest: {', '.join(close)}" if close else f"none of the {len(KNOWN)} known names is like it"


def _option(name: str, value: Any) -> Iterator[str]:
    """Yield one argument as vLLM's parser wants it."""
    flag = "--" + name.replace("_", "-")
    match value:
        case bool():
            yield from _switch(name, flag, on=value)
        case list() | tuple() if name in SPREAD:
            yield from (flag, *map(_text, value))
        case _:
            yield from (flag, _text(value))


def _switch(name: str, flag: str, *, on: bool) -> Iterator[str]:
    if on:
        yield flag
    elif name not in ON_ONLY:
        yield "--no-" + flag.removeprefix("--")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _adapters(release: Release, paths: Mapping[str, str]) -> Iterator[str]:
    """Yield what loads the release's adapters when the server starts, under their names."""
    if not release.adapters:
        return
    if "enable_lora" not in release.engine:
        yield "--enable-lora"
    yield "--lora-modules"
    for name in sorted(release.adapters):
        path = paths.get(f"adapters.{name}")
        if path is None:
            raise SluiceError(
                "RUN-004",
                where=release.id,
                what=f'adapter "{name}" ({release.adapters[name].ref}) has no folder on this machine',
                why="vLLM loads adapters from a folder when it starts",
                do="use a reference that can be fetched here, such as file: or mlflow:",
            )
        yield json.dumps({"name": name, "path": path})
