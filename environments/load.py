"""Read one environment file: text → tree with lines → typed spec, with everything that is wrong in one error.

Imports the other modules of `environments`. Commands, stacks and the policy pack call `load`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from environments.crosscheck import check_references
from environments.errors import Problem, SluiceError, SpecError
from environments.files import readable_file
from environments.gates import GATES
from environments.interpolate import Interpolation, Unset
from environments.redact import SECRET_KEY, secret_kind
from environments.spec import EnvironmentSpec
from environments.translate import problems_of
from environments.trust import TRUSTED_HOSTS, trust_of
from environments.yaml_parse import parse_yaml
from environments.yaml_tree import Block, Items, Lines, Node, PathPart, Scalar, join_path

MAX_BYTES = 1_000_000
_DATABASE_SECRETS = ("PGPASSWORD", "PGPASSFILE")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Loaded:
    """An environment with where it came from.

    `root` is the folder that holds `environments/`: `file:` paths, suites and profiles resolve against it.
    `lines.where("endpoints.chat.release.model")` gives `FILE:LINE` for errors that are found later.
    """

    spec: EnvironmentSpec
    path: Path
    root: Path
    lines: Lines


def load(
    path: Path,
    *,
    environ: Mapping[str, str] | None = None,
    policy_ids: Collection[str] | None = None,
    unset: Unset = "refuse",
    shown: Callable[[Path], str] = lambda path: f"{path.absolute().parent.name}/{path.name}",
) -> Loaded:
    """Return the environment that a file declares.

    `environ` is `os.environ` when None. `policy_ids` turns on the check that overrides name existing policies.
    `unset="keep"` leaves references to unset variables as text, for callers that connect to nothing. `shown` is how
    messages name a file: by its folder, or as it can be opened from where somebody stands.

    Raises:
        SpecError: everything that is wrong with the file, codes `SPEC-002` to `SPEC-049` and `FILE-001` to `FILE-003`,
            sorted by line.
    """
    file = shown(path)
    root = path.absolute().parent.parent
    text = _read(path, file)
    tree, problems = parse_yaml(text, file)
    lines = Lines(file, tree)
    problems += _secrets(text, lines)
    if not isinstance(tree, Block):
        _refuse(problems or [_not_a_block(tree, file)])
    known = os.environ if environ is None else environ
    interpolation = Interpolation(lines, known, unset)
    data = interpolation.plain(tree)
    spec, found = _typed(data, lines)
    unreadable = {p.where for p in problems}
    wrong = {path: p for path, p in found.items() if p.where not in unreadable} | interpolation.problems
    problems += [*wrong.values(), *check_references(data, lines, policy_ids, wrong=wrong)]
    problems += _check_name(data, path, lines) if ("environment",) not in wrong else []
    problems += _check_files(data, root, lines, known, shown)
    problems += _check_store(data, lines, interpolation)
    problems += [p for p in _empty_values(tree, lines, wrong) if p.where not in unreadable]
    if spec is None or problems:
        _refuse(problems)
    return Loaded(spec, path, root, lines)


def _refuse(problems: list[Problem]) -> NoReturn:
    raise SpecError(problems)


def _read(path: Path, file: str) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SpecError(
            [
                Problem(
                    f"{file}:1", "SPEC-002", f"the file cannot be read: {error.strerror or error}", do="check the path"
                )
            ]
        ) from None
    if len(raw) > MAX_BYTES:
        _refuse(
            [Problem(f"{file}:1", "SPEC-003", f"the file is larger than {MAX_BYTES} bytes", do="split the environment")]
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        _refuse([Problem(f"{file}:{line}", "SPEC-003", "a byte here is not UTF-8", do="save the file as UTF-8")])
    if found := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        what = f"an invisible control character (U+{ord(found[0]):04X}) stands here"
        _refuse([Problem(f"{file}:{line}", "SPEC-003", what, "YAML does not allow it", "delete it")])
    return text


def _not_a_block(tree: Node | None, file: str) -> Problem:
    what = (
        "the file is empty"
        if tree is None or (isinstance(tree, Scalar) and tree.value is None)
        else "the file is not a block of keys"
    )
    return Problem(f"{file}:1", "SPEC-008", what, do="begin with `environment: NAME`; `sluice schema` lists every key")


def _typed(data: Any, lines: Lines) -> tuple[EnvironmentSpec | None, dict[tuple[PathPart, ...], Problem]]:
    try:
        return EnvironmentSpec.model_validate(data), {}
    except ValidationError as error:
        return None, problems_of(error, lines, data)


def _check_name(data: Mapping[str, Any], path: Path, lines: Lines) -> list[Problem]:
    name = data.get("environment")
    if not isinstance(name, str) or name == path.stem:
        return []
    return [
        Problem(
            lines.where(("environment",)),
            "SPEC-020",
            f'the file declares the environment "{name}" and is called {path.name}',
            "commands and stacks find an environment by its file's name",
            f"rename the file to {name}.yaml, or the environment to {path.stem}",
        )
    ]


def _check_files(
    data: Mapping[str, Any], root: Path, lines: Lines, environ: Mapping[str, str], shown: Callable[[Path], str]
) -> list[Problem]:
    """Return a problem for each file of a gate that is not there; `file:` references are the registry's question."""
    problems = []
    endpoints = data.get("endpoints")
    for name in endpoints if isinstance(endpoints, dict) else {}:
        for gate, key in ((kind.name, key) for kind in GATES for key in kind.files):
            path = ("endpoints", name, "rollout", "gates", gate, key)
            node = lines.node(path)
            if isinstance(node, Scalar) and isinstance(node.value, str) and node.value:
                found = _gate_file(root, gate, (key, node.value), environ, shown)
                problems += [replace(found, where=lines.where(path))] if found else []
    return problems


def _gate_file(
    root: Path, gate: str, named: tuple[str, str], environ: Mapping[str, str], shown: Callable[[Path], str]
) -> Problem | None:
    key, path = named
    try:
        if readable_file(root, path, environ=environ).is_file():
            return None
    except SluiceError as error:
        return error.problem
    except (OSError, ValueError):
        return Problem("", "SPEC-032", f"the {key} cannot be a path", do="correct it")
    what, why = f"the {key} {path} is not there", f"the {gate} gate would have nothing to run"
    return Problem("", "SPEC-032", what, why, f"create {shown(root / path)}, or correct the path")


def _check_store(data: Mapping[str, Any], lines: Lines, interpolation: Interpolation) -> list[Problem]:
    """Return a problem when a database that the file names would be given this machine's password."""
    url = data.get("store")
    given = [name for name in _DATABASE_SECRETS if interpolation.environ.get(name)]
    if not isinstance(url, str) or "store" in interpolation.from_outside or not given:
        return []
    if not url.startswith("postgres") or trust_of(interpolation.environ).allows_host(url):
        return []
    return [
        Problem(
            lines.where(("store",)),
            "SPEC-048",
            f"the file names a database server, and {given[0]} would be sent there",
            "whoever can change the file could have this machine's password sent anywhere",
            f"name it through the variable SLUICE_STORE, or trust its host where Sluice runs: export {TRUSTED_HOSTS}=…",
        )
    ]


def _empty_values(tree: Node, lines: Lines, wrong: Collection[tuple[PathPart, ...]]) -> list[Problem]:
    """Return a problem for each key without a value, unless something has been said of it; `engine` may hold such."""
    return [
        Problem(
            lines.where(path),
            "SPEC-012",
            f"{join_path(path)} is empty",
            "it would look declared and be as if it were not there",
            "give it a value, or remove the key",
        )
        for path in _nulls(tree)
        if path not in wrong and "engine" not in path
    ]


def _nulls(node: Node, path: tuple[PathPart, ...] = ()) -> list[tuple[PathPart, ...]]:
    match node:
        case Block(entries=entries):
            return [hit for key, (_, value) in entries.items() for hit in _nulls(value, (*path, key))]
        case Items(items=items):
            return [hit for index, item in enumerate(items) for hit in _nulls(item, (*path, index))]
        case Scalar(value=None, text=text) if _means_nothing(text):
            return [path]
    return []


def _means_nothing(text: str) -> bool:
    """Return whether a value is left out or written as null; a number that cannot be used is None as well."""
    return text.lower() in ("", "~", "null")


def _secrets(text: str, lines: Lines) -> list[Problem]:
    """Return a problem for each line that holds what looks like a secret, comments included; never the secret."""
    found = [(number, kind) for number, line in enumerate(text.split("\n"), 1) if (kind := secret_kind(line))]
    found += [(line, f"a value for `{key}`") for key, line in _secret_keys(lines.root)]
    return [
        Problem(
            f"{lines.file}:{line}",
            "SPEC-043",
            f"this looks like {kind}",
            "the file is in version control, and its values reach plans, logs and the ledger",
            "take it out, revoke it, and name an environment variable: ${env:NAME}",
        )
        for line, kind in found
    ]


def _secret_keys(node: Node | None) -> list[tuple[str, int]]:
    match node:
        case Block(entries=entries):
            found = [
                (key, line)
                for key, (line, value) in entries.items()
                if SECRET_KEY.search(key) and isinstance(value, Scalar) and isinstance(value.value, str)
            ]
            return found + [hit for key, (_, value) in entries.items() for hit in _secret_keys(value)]
        case Items(items=items):
            return [hit for item in items for hit in _secret_keys(item)]
        case _:
            return []
