"""Properties as they travel between the engine and a provider: plain dicts, with one text standing for "not known yet".

Imports protobuf and the Pulumi SDK. Called by the providers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from google.protobuf import json_format, struct_pb2  # type: ignore[import-untyped]

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
Properties = dict[str, Any]


def decode(message: struct_pb2.Struct) -> Properties:
    """Return a message as a dict, whole numbers as `int` and without the keys that hold nothing."""
    return cast(Properties, _plain(json_format.MessageToDict(message)))


def encode(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """Return a dict as a message."""
    return json_format.ParseDict(dict(properties), struct_pb2.Struct())


def has_unknown(value: object) -> bool:
    """Return whether anything inside the value is not known yet."""
    match value:
        case dict():
            return any(has_unknown(v) for v in value.values())
        case list():
            return any(has_unknown(v) for v in value)
        case _:
            return value == UNKNOWN


def without_unknown(value: Any) -> Any:
    """Return the value without the keys and items that are not known yet."""
    match value:
        case dict():
            return {k: without_unknown(v) for k, v in value.items() if v != UNKNOWN}
        case list():
            return [without_unknown(v) for v in value if v != UNKNOWN]
        case _:
            return value


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {k: _plain(v) for k, v in value.items() if v is not None}
        case list():
            return [_plain(v) for v in value]
        case float() if value.is_integer():
            return int(value)
    return value
