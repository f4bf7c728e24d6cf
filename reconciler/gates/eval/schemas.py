"""JSON Schemas of a suite: nothing outside the schema is read, and its patterns are searched for a bounded time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from environments.errors import SluiceError
from reconciler.gates.eval.packages import needed
from reconciler.gates.eval.patterns import search

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_DATA = ("const", "enum", "default", "examples")
"""Keywords whose value is data: a `$ref` in it refers to nothing."""
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
"""Keywords whose value is a block of names, each with a schema."""


def bad_schema(schema: Any) -> str | None:
    """Return why a suite cannot use this JSON Schema, None when it can.

    Raises:
        SluiceError: `EVAL-025` the package is missing.
    """
    if not isinstance(schema, dict):
        return "it needs a JSON Schema as a block of keys"
    exceptions = needed("jsonschema.exceptions")
    try:
        _kind(schema).check_schema(schema)
    except exceptions.SchemaError as error:
        return f"the JSON Schema is not valid: {error.message}"
    outside = next(_outside(schema, _resolver(schema)), None)
    if outside is not None:
        return f"it refers to {outside!r}, which is not in the schema, and nothing is fetched"
    if {"unevaluatedProperties", "patternProperties"} <= set(_keywords(schema)):
        return "unevaluatedProperties beside patternProperties cannot be searched in bounded time"
    return None


def first_problem(schema: Any, content: Any) -> str | None:
    """Return what the schema has against `content`, None when it admits it.

    Raises:
        SluiceError: `EVAL-007` the schema refers to another document, `EVAL-025`, `EVAL-028`.
    """
    unresolvable = needed("referencing.exceptions").Unresolvable
    validator = _kind(schema)(schema, registry=needed("referencing").Registry())
    try:
        problem = next(iter(validator.iter_errors(content)), None)
    except unresolvable as error:
        raise SluiceError(
            "EVAL-007",
            where=str(error.ref),
            what="the JSON Schema refers to what is not in it",
            why="nothing is fetched: a suite must not decide what this machine reads or calls",
            do='copy what it refers to under `"$defs"`, and write "#/$defs/NAME"',
        ) from None
    return None if problem is None else str(problem.message)


def _kind(schema: Any) -> Any:
    """Return the validator for the schema's dialect, with patterns that cannot hold the process."""
    validators = needed("jsonschema.validators")
    found = validators.validator_for(schema)
    bounded = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    }
    return validators.extend(found, bounded)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    if validator.is_type(instance, "string") and search(pattern, instance) is None:
        yield needed("jsonschema.exceptions").ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: dict[str, Any], instance: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, inner in patterns.items():
        for name, value in instance.items():
            if search(pattern, name) is not None:
                yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    patterns = schema.get("patternProperties", {})
    for name, value in instance.items():
        if name in schema.get("properties", {}) or any(search(pattern, name) is not None for pattern in patterns):
            continue
        if allowed is False:
            yield needed("jsonschema.exceptions").ValidationError(f"{name!r} is not a property that the schema knows")
        else:
            yield from validator.descend(value, allowed, path=name)


def _keywords(schema: Any) -> Iterator[str]:
    """Yield every key in the schema, at any depth."""
    if isinstance(schema, list):
        for item in schema:
            yield from _keywords(item)
    if isinstance(schema, dict):
        yield from schema
        yield from _keywords(list(schema.values()))


def _resolver(schema: Any) -> Any:
    """Return what looks references up in the schema itself, by the rules of its dialect."""
    return needed("referencing").Registry().resolver_with_root(_resource(schema))


def _outside(schema: Any, resolver: Any) -> Iterator[str]:
    """Yield every reference that the schema itself does not answer."""
    if isinstance(schema, list):
        for item in schema:
            yield from _outside(item, resolver)
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("$id"), str):
        resolver = resolver.in_subresource(_resource(schema))
    for key, value in schema.items():
        if key in _REFERENCES and isinstance(value, str):
            if not _answered(value, resolver):
                yield value
        elif key in _NAMED and isinstance(value, dict):
            yield from _outside(list(value.values()), resolver)
        elif key not in _DATA:
            yield from _outside(value, resolver)


def _resource(schema: Any) -> Any:
    dialects = needed("referencing.jsonschema")
    return needed("referencing").Resource.from_contents(schema, default_specification=dialects.DRAFT202012)


def _answered(reference: str, resolver: Any) -> bool:
    try:
        resolver.lookup(reference)
    except needed("referencing.exceptions").Unresolvable:
        return False
    return True
