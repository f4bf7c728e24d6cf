"""The JSON Schema of an environment file, so that an editor completes, explains and checks while one types.

Pure. `sluice schema` prints it; `environments/schema.json` is this function's output, kept equal by a golden test.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from environments.descriptions import FIELDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the schema, draft 2020-12, with a description for every block and field."""
    from environments.spec import EnvironmentSpec

    schema: dict[str, Any] = deepcopy(EnvironmentSpec.model_json_schema(mode="validation"))
    _tidy(schema)
    _describe(schema["$defs"], schema)
    return {
        "$schema": DIALECT,
        "title": "Sluice environment",
        **{key: value for key, value in schema.items() if key not in ("title", "$schema")},
    }


def schema_text() -> str:
    """Return the schema as the text of `environments/schema.json`."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _describe(definitions: dict[str, Any], root: dict[str, Any]) -> None:
    for name, block in [("EnvironmentSpec", root), *definitions.items()]:
        for key, field in block.get("properties", {}).items():
            if own := FIELDS.get(f"{name}.{key}"):
                field["description"] = own


def _tidy(node: Any) -> None:
    """Drop generated titles, which hide descriptions; allow only keys of their pattern in keyed blocks."""
    if isinstance(node, dict):
        if "patternProperties" in node:
            node["additionalProperties"] = False
        if isinstance(node.get("title"), str) and (
            "type" in node or "anyOf" in node or "$ref" in node or "const" in node
        ):
            del node["title"]
        for value in node.values():
            _tidy(value)
    elif isinstance(node, list):
        for value in node:
            _tidy(value)
