"""Pydantic's findings in our words: code, path in the file, what is there, what is expected and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from environments.errors import Problem, nearest
from environments.names import NAME, REGION
from environments.shapes import home_of, known_keys
from environments.yaml_tree import Block, Items, Lines, Node, PathPart, Scalar, join_path

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a block of keys",
    "model_type": "a block of keys",
    "model_attributes_type": "a block of keys",
    "union_tag_not_found": "a block of keys",
}
_BLOCK_KINDS = ("model_type", "model_attributes_type", "dict_type")
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_PATTERNS = {
    "alert_email": "an e-mail address",
    "certificate_email": "an e-mail address",
    "vpc_cidr": "a network such as 10.0.0.0/16",
    "instance": "an instance type such as g6.2xlarge",
    "domain": "a domain such as models.example.com",
    "kubernetes_version": 'a quoted version such as "1.33"',
}
EXAMPLES = {
    "adapters": "{acme: file:adapters/acme}",
    "capacity_reservation": "cr-0123456789abcdef0",
    "context": "prod-eu-west-1",
    "endpoints": "{chat: {team: …, runtime: vllm, release: {model: file:models/v1}}}",
    "environment": "NAME, as the file is called",
    "error_rate": "0.01",
    "gateway_port": "18080",
    "gpu": "L4",
    "gpus_per_node": "1",
    "instance": "g6.2xlarge",
    "max": "4",
    "metric": "error_rate",
    "min": "1",
    "model": "file:models/v1, or mlflow:NAME/VERSION",
    "nodes": "{min: 1, max: 4}",
    "owner": "ml-platform",
    "platform": "local",
    "profile": "loadtests/profiles/chat.yaml",
    "query": 'errors_total{release="$release"} for prometheus, an address for http, rejected_rate for traffic',
    "ratio": "2.0",
    "ref": "file:guardrails/chat.yaml",
    "regions": "{local: {platform: local, gateway_port: 18080, serve_command: [vllm, serve]}}",
    "release": "{model: file:models/v1}",
    "runtime": "vllm",
    "serve_command": "[vllm, serve]",
    "source": "prometheus, http or traffic",
    "store": "sqlite:///.sluice/NAME.db, or postgresql+psycopg://USER@HOST/DATABASE",
    "suite": "environments/evals/chat.yaml",
    "team": "support",
    "vram_gib": "24",
}
"""Key → what somebody who has never seen one would write there."""
_NAME = "a name of small letters, digits and hyphens that begins with a letter and is at most 40 long"


def problems_of(error: ValidationError, lines: Lines, data: Any) -> dict[tuple[PathPart, ...], Problem]:
    """Return one problem for each path that is wrong; the alternatives of a union are joined."""
    found: dict[tuple[PathPart, ...], list[dict[str, Any]]] = {}
    for item in error.errors(include_url=False, include_input=False):
        path, is_key = file_path(item["loc"], item["type"], lines.root)
        found.setdefault(path, []).append({**item, "is_key": is_key})
    return {path: _problem(path, items, lines, data) for path, items in found.items()}


def file_path(loc: Sequence[Any], kind: str, root: Node | None) -> tuple[tuple[PathPart, ...], bool]:
    """Return where in the file a `loc` points, and whether it means a key rather than its value.

    A `loc` also names members of unions (`kubernetes`, `float`), which are no places in the file: they are left out.
    """
    path: tuple[PathPart, ...] = ()
    node = root
    for index, part in enumerate(loc):
        if part == "[key]":
            return path, True
        last = index == len(loc) - 1
        if _is_union_member(path, part, node) and not last:
            continue
        entry = _step(node, part)
        if entry is not None:
            path, node = (*path, part), entry
        elif last and kind == "missing":
            path = (*path, part)
    return path, kind == "extra_forbidden"


def _is_union_member(path: tuple[PathPart, ...], part: Any, node: Node | None) -> bool:
    if len(path) == 2 and path[0] == "regions":
        platform = _step(node, "platform")
        return isinstance(platform, Scalar) and platform.text == part
    return False


def _step(node: Node | None, part: Any) -> Node | None:
    match node:
        case Block(entries=entries) if part in entries:
            return entries[part][1]
        case Items(items=items) if isinstance(part, int) and part < len(items):
            return items[part]
    return None


def _problem(path: tuple[PathPart, ...], items: list[dict[str, Any]], lines: Lines, data: Any) -> Problem:
    item = items[0]
    kind, name = item["type"], join_path(path)
    if kind == "missing":
        return _missing(path, lines)
    if kind == "union_tag_not_found" and isinstance(lines.node(path), Block):
        return _missing((*path, "platform"), lines)
    if item["is_key"]:
        return _bad_key(path, kind, lines, data)
    where = lines.where(path)
    shown = describe(lines.node(path))
    if len(items) > 1:
        wanted = " or ".join(dict.fromkeys(_expected(i, path) for i in items))
        return Problem(where, "SPEC-014", f"{name} is {shown}; it must be {wanted}", do="write one of these")
    if kind == "value_error":
        return Problem(
            where,
            "SPEC-016",
            f"{name}: {item['msg'].removeprefix('Value error, ')}",
            do=_ref_advice(item, lines.node(path)),
        )
    if kind in ("literal_error", "union_tag_invalid"):
        node = lines.node((*path, "platform")) if kind == "union_tag_invalid" else lines.node(path)
        if kind == "union_tag_invalid":
            name, where = f"{name}.platform", lines.where((*path, "platform"))
        text = node.text if isinstance(node, Scalar) else ""
        choices = _choices(item)
        what = f"{name} is {describe(node)}; it must be one of {', '.join(choices)}"
        return Problem(where, "SPEC-014", what, do=f"write one of them ({nearest(text, choices)})")
    return Problem(
        where,
        _code(kind),
        f"{name or 'the file'} is {shown}; it must be {_expected(item, path)}",
        do=_advice(item, lines.node(path), known_keys(path, data)),
    )


def _missing(path: tuple[PathPart, ...], lines: Lines) -> Problem:
    *block, key = path
    inside = join_path(block) or "the file"
    return Problem(
        lines.where(tuple(block)),
        "SPEC-010",
        f"`{key}` is missing in {inside}",
        "nothing sensible can be assumed for it",
        f"add `{key}: {EXAMPLES[str(key)]}` to {inside}" if key in EXAMPLES else f"add `{key}:` to {inside}",
    )


def _bad_key(path: tuple[PathPart, ...], kind: str, lines: Lines, data: Any) -> Problem:
    *block, key = path
    where, inside = f"{lines.file}:{lines.key_line(path)}", join_path(block) or "the file"
    if kind != "extra_forbidden":
        return Problem(where, "SPEC-015", f'"{key}" in {inside} is not {_NAME}', do="choose another name")
    known = known_keys(block, data)
    homes = [home for home in home_of(str(key)) if home not in block]
    hint = f"; `{key}` belongs under `{homes[0]}`" if homes and len(block) == 2 and block[0] == "endpoints" else ""
    return Problem(
        where,
        "SPEC-011",
        f'unknown key "{key}" in {inside}',
        "a key that nobody reads would look as if it were in force",
        f"correct or remove it ({nearest(str(key), known)}){hint}",
    )


def _code(kind: str) -> str:
    if kind in _WANTED:
        return "SPEC-012"
    if kind in _BOUNDS or kind == "finite_number":
        return "SPEC-013"
    if kind in ("string_pattern_mismatch", "string_too_short"):
        return "SPEC-015"
    return "SPEC-017" if kind == "too_short" else "SPEC-018"


def _expected(item: Mapping[str, Any], path: Sequence[PathPart]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind in _WANTED:
        return _WANTED[kind]
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{words} {context[key]:g}"
    if kind == "literal_error":
        return " or ".join(_choices(item))
    if kind == "string_pattern_mismatch":
        return _pattern_in_words(str(path[-1]) if path else "", str(context["pattern"]))
    if kind in ("too_short", "string_too_short"):
        return "something: it is empty"
    return str(item["msg"])[:1].lower() + str(item["msg"])[1:]


def _pattern_in_words(key: str, pattern: str) -> str:
    if pattern in (f"^{NAME.pattern}$", f"^{REGION.pattern}$"):
        return _NAME
    return _PATTERNS.get(key, f"text of the form {pattern}")


def _choices(item: Mapping[str, Any]) -> list[str]:
    context = item.get("ctx", {})
    text = str(context.get("expected") or context.get("expected_tags") or "")
    return [part.strip().strip("'") for part in text.replace(" or ", ",").split(",") if part.strip()]


def _advice(item: Mapping[str, Any], node: Node | None, known: Sequence[str]) -> str:
    if item["type"] == "string_type" and isinstance(node, Scalar) and node.value is not None:
        return "put it in quotes if it is meant as text"
    if item["type"] == "bool_type":
        return "YAML 1.2 knows only true and false"
    if item["type"] in _BLOCK_KINDS and known:
        value = node.text if isinstance(node, Scalar) and node.text else "…"
        return f"write `{{{known[0]}: {value}}}` (it knows: {', '.join(known)})"
    if isinstance(node, Scalar) and isinstance(node.value, str) and _is_number(node.text):
        return "write the number without quotes, underscores, units or leading zeros"
    return f"write {_WANTED[item['type']]}" if item["type"] in _WANTED else "change the value"


def _ref_advice(item: Mapping[str, Any], node: Node | None) -> str:
    if "unknown reference" in item["msg"] and isinstance(node, Scalar):
        looks_like_a_path = "/" in node.text and ":" not in node.text
        first = f"write `file:{node.text}` if it is a file or folder here; else" if looks_like_a_path else "write"
        return f"{first} mlflow:NAME/VERSION, hf:ORG/NAME@COMMIT, s3://BUCKET/KEY@VERSION_ID or file:PATH"
    return "pin it: a reference that can move would move under a release" if "reference" in item["msg"] else "change it"


def _is_number(text: str) -> bool:
    return any(c.isdigit() for c in text)


def describe(node: Node | None) -> str:
    """Return what stands there in a few words, never more than 40 characters of it."""
    match node:
        case Scalar(value=None):
            return "empty"
        case Scalar(value=str(), text=text):
            return f'the text "{text if len(text) <= 40 else text[:37] + "..."}"'
        case Scalar(value=bool(), text=text):
            return text
        case Scalar(text=text):
            return text
        case Items(items=items):
            return f"a list of {len(items)}"
        case Block():
            return "a block of keys"
        case _:
            return "not there"
