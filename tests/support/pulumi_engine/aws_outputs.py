"""From a resource's inputs to its id and everything a program can read of it; the same inputs give the same outputs.

Pure. Called by `aws_provider`.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping
from typing import Any

from tests.support.pulumi_engine import aws_facts
from tests.support.pulumi_engine.aws_schema import is_object, optional, output_kind, resource_type, shape
from tests.support.pulumi_engine.wire import UNKNOWN, Properties, has_unknown


class MissingName(Exception):
    """An input that a resource's id is made of is not there."""


def identity(token: str, inputs: Properties, *, region: str, seed: str) -> str:
    """Return the id that AWS would give; drawn from the seed where AWS draws it.

    Raises:
        MissingName: the id is made of an input that is absent.
    """
    facts = _facts(inputs, region=region, identity="", seed=seed)
    if token in aws_facts.NAMED:
        missing = [f for _, f, _, _ in string.Formatter().parse(aws_facts.NAMED[token]) if f and f not in facts]
        if missing:
            raise MissingName(missing[0])
        return aws_facts.NAMED[token].format_map(facts)
    if token in aws_facts.PREFIXES:
        return f"{aws_facts.PREFIXES[token]}-{facts['hex17']}"
    if token.startswith("aws:s3/bucket") and "bucket" in inputs:
        return str(inputs["bucket"])
    if token == "aws:kms/key:Key":
        return "{hex32}".format_map(facts)
    return f"{token.rpartition(':')[2].lower()}-{facts['hex17']}"


def replacing(token: str) -> set[str]:
    """Return the inputs whose change needs a new resource."""
    found = resource_type(token)
    made_of = {f for _, f, _, _ in string.Formatter().parse(aws_facts.NAMED.get(token, "")) if f}
    documented = found.inputs.immutable if found else frozenset()
    return {*made_of, *documented, *aws_facts.IMMUTABLE.get(token, ()), "region", "namePrefix"} - {"account"}


def outputs(
    token: str, inputs: Properties, *, region: str, account_tags: Mapping[str, str], identity: str
) -> Properties:
    """Return every output: inputs as given, what is known of this type, and a value for whatever else is promised.

    With an unknown id (a preview) everything that AWS computes is unknown.
    """
    found = resource_type(token)
    if found is None:
        return dict(inputs)
    facts = _facts(inputs, region=region, identity=identity, seed=identity)
    made = {name: _promised(name, hint, facts) for name, hint in found.outputs.hints.items() if not optional(hint)}
    result: Properties = _merged(_merged(made, _computed(token, found.outputs.hints, facts)), inputs)
    if "tagsAll" in found.outputs.hints:
        result["tagsAll"] = _tags(account_tags, inputs.get("tags"))
    if "region" in found.outputs.hints:
        result["region"] = region
    return result


def _computed(token: str, hints: Mapping[str, Any], facts: Mapping[str, str]) -> Properties:
    known = {name: _filled(value, facts) for name, value in aws_facts.OUTPUTS.get(token, {}).items()}
    if "arn" in hints and facts["id"] != UNKNOWN:
        known["arn"] = _filled(aws_facts.ARNS.get(token) or _generic_arn(token, facts["id"]), facts)
    return known


def _generic_arn(token: str, identity: str) -> str:
    if identity.startswith("arn:"):
        return identity.replace("{", "{{").replace("}", "}}")
    service = token.split(":")[1].split("/")[0]
    kind = "".join(f"-{c.lower()}" if c.isupper() else c for c in token.rpartition(":")[2]).lstrip("-")
    place = ":{account}:" if token.startswith(aws_facts.GLOBAL) else "{region}:{account}:"
    return f"arn:aws:{service}:{place}{kind}/{{id}}"


def _promised(name: str, hint: Any, facts: Mapping[str, str]) -> Any:
    """Return some value of the right type for an output that the package promises."""
    kind = output_kind(hint)
    if is_object(kind):
        inner = shape(kind).hints
        return {n: _promised(f"{name}-{n}", h, facts) for n, h in inner.items() if not optional(h)}
    if facts["id"] == UNKNOWN:
        return UNKNOWN
    empty: dict[Any, Any] = {str: f"{name}-{facts['hex8']}", int: 0, float: 0, bool: False}
    if kind in empty:
        return empty[kind]
    return {} if getattr(kind, "__origin__", None) is not None and "Mapping" in str(kind) else []


def _merged(base: Any, given: Any) -> Any:
    """Lay what a program gave over what was computed, key by key."""
    if isinstance(base, dict) and isinstance(given, dict):
        return {**base, **{k: _merged(base.get(k), v) for k, v in given.items() if v is not None}}
    return given


def _tags(account: Mapping[str, str], own: Any) -> Any:
    return own if has_unknown(own) and not isinstance(own, dict) else {**account, **(own or {})}


def _filled(value: Any, facts: Mapping[str, str]) -> Any:
    match value:
        case dict():
            return {k: _filled(v, facts) for k, v in value.items()}
        case _ if facts["id"] == UNKNOWN:
            return UNKNOWN
        case list():
            return [_filled(v, facts) for v in value]
        case str():
            return value.format_map(facts)
        case _:
            return value


class _Facts(dict[str, str]):
    """Scalars to fill templates with; one that is absent or not known yet is an empty text."""

    def __missing__(self, key: str) -> str:
        return ""


def _facts(inputs: Properties, *, region: str, identity: str, seed: str) -> dict[str, str]:
    digest = hashlib.sha256(seed.encode()).hexdigest()
    facts = _Facts({k: str(v) for k, v in inputs.items() if isinstance(v, str | int) and v != UNKNOWN})
    facts |= {"hex8": digest[:8], "hex17": digest[:17], "hex32": digest[:32], "octet": str(int(digest[:2], 16))}
    facts |= {"account": aws_facts.ACCOUNT, "region": region, "id": identity}
    return facts
