"""Judge a call against IAM policies: actions, resources and conditions with their wildcards, an explicit deny last.

Source: IAM user guide, "Policy evaluation logic" within one account, and "Condition operators".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from re import IGNORECASE, fullmatch
from typing import Any

Context = Mapping[str, str | Sequence[str]]


class UnknownOperator(Exception):
    """A condition uses an operator that this module does not know; guessing would make a test lie."""


@dataclass(frozen=True)
class Call:
    """Who asks for what, on what, and the keys that conditions may ask for."""

    principal: str
    action: str
    resource: str
    context: Context = field(default_factory=dict)


def allows(document: str, call: Call, *, others: Iterable[str] = ()) -> bool:
    """Return whether the policies together allow a call: one allows it and none denies it."""
    statements = [s for text in (document, *others) for s in _many(json.loads(text)["Statement"])]
    effects = {statement["Effect"] for statement in statements if _applies(statement, call)}
    return effects == {"Allow"}


def _applies(statement: Mapping[str, Any], call: Call) -> bool:
    return (
        _names(statement, "Principal", call.principal)
        and _is(statement, "Action", call.action, ignore_case=True)
        and _is(statement, "Resource", call.resource)
        and all(_holds(op, keys, call.context) for op, keys in statement.get("Condition", {}).items())
    )


def _names(statement: Mapping[str, Any], key: str, who: str) -> bool:
    """Return whether a statement is about a principal; one without a principal is a role's own."""
    given = statement.get(key)
    if given is None or given == "*":
        return True
    listed = [text for texts in given.values() for text in _many(texts)]
    account = who.split(":")[4] if who.startswith("arn:") else ""
    root = f"arn:aws:iam::{account}:root"
    # A key's policy that names the account gives what roles' own policies then give; alone it gives roles nothing.
    return who in listed or "*" in listed or (who == root and root in listed)


def _is(statement: Mapping[str, Any], key: str, value: str, *, ignore_case: bool = False) -> bool:
    if f"Not{key}" in statement:
        return not any(_like(pattern, value, ignore_case) for pattern in _many(statement[f"Not{key}"]))
    return any(_like(pattern, value, ignore_case) for pattern in _many(statement.get(key, [])))


def _like(pattern: str, value: str, ignore_case: bool = False) -> bool:
    return fullmatch(translate(pattern.replace("[", "[[]")), value, IGNORECASE if ignore_case else 0) is not None


def _holds(operator: str, keys: Mapping[str, Any], context: Context) -> bool:
    return all(_compared(operator, _many(wanted), context.get(key)) for key, wanted in keys.items())


def _compared(operator: str, wanted: Sequence[str], given: str | Sequence[str] | None) -> bool:
    name, _, rest = operator.rpartition(":")
    if name == "ForAllValues":
        return all(_compared(rest, wanted, value) for value in _many(given or []))
    if rest.endswith("IfExists"):
        return given is None or _compared(rest.removesuffix("IfExists"), wanted, given)
    if given is None:
        return False
    values = _many(given)
    match rest:
        case "StringEquals" | "Bool" | "ArnEquals":
            return any(value in wanted for value in values)
        case "StringLike" | "ArnLike":
            return any(_like(pattern, value) for pattern in wanted for value in values)
        case "StringNotEquals":
            return not any(value in wanted for value in values)
        case _:
            raise UnknownOperator(operator)


def _many(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
