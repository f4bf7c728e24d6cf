"""Reads a load profile from YAML and says file and line of everything that is wrong with it, all at once."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from environments.errors import Problem, SpecError, nearest
from environments.yaml_parse import parse_yaml
from environments.yaml_tree import Block, Lines, Node, child, plain
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
    root, found = parse_yaml(text, name)
    problems = [replace(p, code="LOAD-005" if "twice" in p.what else "LOAD-002") for p in found]
    if not isinstance(root, Block):
        do = "start with `profile: NAME`; loadtests/profiles/ has examples"
        raise SpecError(
            problems or [Problem(f"{name}:1", "LOAD-002", "the load profile is not a mapping of keys", "", do)]
        )
    lines = Lines(name, root)
    try:
        profile = Profile.model_validate(plain(root))
    except ValidationError as error:
        problems += [_problem(item, lines) for item in error.errors(include_url=False)]
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


def _problem(item: Mapping[str, Any], lines: Lines) -> Problem:
    loc = tuple(item["loc"])
    found = _found(loc, lines.root)
    where, path = f"{lines.file}:{lines.key_line(found)}", ".".join(str(part) for part in found)
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


def _found(loc: Loc, root: Node | None) -> Loc:
    """Return the part of a pydantic location that the file has; union tags that pydantic puts in are left out."""
    found: Loc = ()
    node = root
    for part in loc:
        entry = child(node, part)
        if entry is not None:
            found, node = (*found, part), entry[1]
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
