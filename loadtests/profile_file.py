"""Reads a load profile from YAML and says file and line of everything that is wrong with it, all at once.

Imports `environments.errors` and `loadtests.profile`. The load gate, the locust entry and the bench call it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from environments.errors import Problem, SpecError, nearest
from loadtests.profile import Profile

Loc = tuple[str | int, ...]
_FIX = "correct the value; docs/load.md describes every key"


def load_profile(path: Path) -> Profile:
    """Return the profile in `path`.

    Raises:
        SpecError: `LOAD-001` cannot be read, `LOAD-002` is not YAML, `LOAD-003` unknown key, `LOAD-004` bad or missing
            value, `LOAD-005` key given twice; every problem of the file with its line.
    """
    return parse_profile(_read(path), str(path))


def parse_profile(text: str, name: str) -> Profile:
    """Return the profile that `text` holds; `name` is the file's name in errors. Raises as `load_profile` does."""
    root, data = _compose(text, name)
    lines: dict[Loc, int] = {(): 1}
    problems = [
        Problem(f"{name}:{line}", "LOAD-005", f'key "{key}" is given twice', "the first would be lost", "remove one")
        for key, line in _walk(root, (), lines)
    ]
    try:
        profile = Profile.model_validate(data)
    except ValidationError as error:
        problems += [_problem(item, lines, name) for item in error.errors(include_url=False)]
        raise SpecError(problems) from None
    if problems:
        raise SpecError(problems)
    return profile


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        do = "name a readable YAML file; loadtests/profiles/ has examples"
        raise SpecError([Problem(str(path), "LOAD-001", "the load profile cannot be read", str(error), do)]) from None


def _compose(text: str, name: str) -> tuple[yaml.Node, Any]:
    """Return the YAML nodes, which know their lines, and the plain data that they stand for."""
    try:
        root, data = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1 if mark else 1}"
        why = str(getattr(error, "problem", error))
        raise SpecError([Problem(where, "LOAD-002", "the load profile is not YAML", why, "correct the line")]) from None
    if not isinstance(root, yaml.MappingNode):
        do = "start with `profile: NAME`; loadtests/profiles/ has examples"
        raise SpecError([Problem(f"{name}:1", "LOAD-002", "the load profile is not a mapping of keys", "", do)])
    return root, data


def _walk(node: yaml.Node, loc: Loc, lines: dict[Loc, int]) -> Iterator[tuple[str, int]]:
    """Fill `lines` with the line of every key and item, and yield keys that stand twice in one block."""
    children: Sequence[tuple[str | int, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(index, value, value) for index, value in enumerate(node.value)]
    for name, mark, value in children:
        line = mark.start_mark.line + 1
        if (*loc, name) in lines:
            yield str(name), line
        lines[(*loc, name)] = line
        yield from _walk(value, (*loc, name), lines)


def _problem(item: Mapping[str, Any], lines: Mapping[Loc, int], name: str) -> Problem:
    loc = tuple(item["loc"])
    found = _found(loc, lines)
    where, path = f"{name}:{lines[found]}", ".".join(str(part) for part in found)
    match item["type"]:
        case "extra_forbidden":
            why = nearest(str(loc[-1]), _fields(Profile, loc[:-1]))
            return Problem(where, "LOAD-003", f'unknown key "{path}"', why, "correct or remove it")
        case "missing":
            do = f"add `{loc[-1]}: …`"
            return Problem(where, "LOAD-004", f'key "{loc[-1]}" is missing{f" in {path}" if path else ""}', "", do)
        case _:
            what = f'"{path}" is not valid' if path else "the profile contradicts itself"
            return Problem(where, "LOAD-004", what, _reason(item), _FIX)


def _reason(item: Mapping[str, Any]) -> str:
    given = item.get("input")
    shown = f"; given: {given!r}" if isinstance(given, str | int | float | bool) or given is None else ""
    return str(item["msg"]).removeprefix("Value error, ") + shown


def _found(loc: Loc, lines: Mapping[Loc, int]) -> Loc:
    """Return the part of a pydantic location that the file has; union tags that pydantic puts in are left out."""
    found: Loc = ()
    for part in loc:
        if (*found, part) in lines:
            found = (*found, part)
    return found


def _fields(model: type[BaseModel], loc: Loc) -> set[str]:
    """Return the keys that the block at `loc` may have."""
    blocks: list[type[BaseModel]] = [model]
    for part in loc:
        tagged = [block for block in blocks if _tag(block) == part]
        blocks = tagged or [
            inner
            for block in blocks
            if part in block.model_fields
            for inner in _models(block.model_fields[str(part)].annotation)
        ]
    return {name for block in blocks for name in block.model_fields}


def _tag(block: type[BaseModel]) -> str | None:
    kind = block.model_fields.get("kind")
    return typing.get_args(kind.annotation)[0] if kind else None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        for inner in typing.get_args(annotation):
            yield from _models(inner)
