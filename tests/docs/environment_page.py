"""The reference of the environment file, made from its JSON Schema, which is made from the types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from environments.schema import json_schema
from environments.translate import EXAMPLES

Json = dict[str, Any]
_HEAD = """# The environment file

One file an environment, in `environments/NAME.yaml`. Blocks are strict: an unknown key is an error that names the
nearest known one, and no value changes its type. A first line `# yaml-language-server: $schema=schema.json` gives an
editor completion and these texts.

A key without a default is needed. `${env:NAME}` and `${env:NAME:-default}` work where the text says so, and nowhere
else ([security](../security.md)). Errors of the loader are explained in [error codes](errors.md#the-environment-file).

```yaml
environment: dev                      # the shortest file that serves something
owner: ml-platform
store: sqlite:///.sluice/dev.db
regions:
  local: {platform: local, gateway_port: 18080, serve_command: [vllm, serve]}
endpoints:
  chat:
    team: search
    runtime: vllm
    gpus_per_replica: 0
    release: {model: "file:models/chat-v1"}
```
"""


def environment_page() -> str:
    """Return docs/reference/environment.md."""
    schema = json_schema()
    blocks = {"EnvironmentSpec": schema, **schema["$defs"]}
    order = list(dict.fromkeys(_reached("EnvironmentSpec", blocks)))
    return "\n".join([_HEAD, *(line for name in order for line in _block(name, blocks[name], blocks))])


def _reached(name: str, blocks: Json) -> Iterator[str]:
    """Yield the blocks in the order in which a reader of the file meets them."""
    yield name
    for field in blocks[name].get("properties", {}).values():
        for inner in _refs(field):
            yield from _reached(inner, blocks)


def _refs(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2]
        for key, value in node.items():
            if key != "discriminator":
                yield from _refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from _refs(value)


def title(name: str) -> str:
    """Return the heading of a block."""
    return "The file" if name == "EnvironmentSpec" else name.removesuffix("Spec")


def _link(name: str) -> str:
    return f"[{title(name)}](#{title(name).lower().replace(' ', '-')})"


def _block(name: str, block: Json, blocks: Json) -> Iterator[str]:
    if "properties" not in block:
        return
    yield f"## {title(name)}\n\n{' '.join(block['description'].split())}\n"
    yield "| key | type | default | meaning | example |\n|---|---|---|---|---|"
    needed = set(block.get("required", ()))
    for key, field in block["properties"].items():
        default = "**needed**" if key in needed else _default(field.get("default"), field)
        cells = (f"`{key}`", _type(field), default, field["description"], _example(key, field))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _default(value: Any, field: Json) -> str:
    if value in (None, {}, []):
        return "none"
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value)):
        return "see there"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _type(field: Json) -> str:
    """Return a field's type in words, with its bounds."""
    if "$ref" in field:
        return _link(field["$ref"].rpartition("/")[2])
    for several in ("anyOf", "oneOf"):
        if several in field:
            return " or ".join(_type(each) for each in field[several] if each.get("type") != "null")
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    match field.get("type"):
        case "array":
            return f"list of {_type(field['items'])}"
        case "object":
            values = [*field.get("patternProperties", {}).values(), field.get("additionalProperties")]
            inner = next((value for value in values if isinstance(value, dict)), None)
            return f"by name: {_type(inner)}" if inner else "block"
        case str(kind):
            words = {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(kind, kind)
            return words + _bounds(field)
        case _:
            return "any"


def _bounds(field: Json) -> str:
    low = next((f"≥ {field[k]:g}" if k == "minimum" else f"> {field[k]:g}" for k in _LOW if k in field), "")
    high = next((f"≤ {field[k]:g}" if k == "maximum" else f"< {field[k]:g}" for k in _HIGH if k in field), "")
    return f" {', '.join(part for part in (low, high) if part)}" if low or high else ""


_LOW = ("minimum", "exclusiveMinimum")
_HIGH = ("maximum", "exclusiveMaximum")


def _example(key: str, field: Json) -> str:
    found = (field.get("examples") or [None])[0] or EXAMPLES.get(key)
    return f"`{found}`" if found else ""
