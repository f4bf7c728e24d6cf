"""What no single approver can say: that there are enough of them, and that they can be told apart. Pure."""

from __future__ import annotations

from environments.raw import Check, Json, block, is_whole, items
from environments.signing import spki_of


def check_approvals(check: Check, declared: Json) -> None:
    """Note it when fewer people are listed than are needed, and when two share a key or an account."""
    people = [(index, block(each)) for index, each in enumerate(items(declared.get("keys")))]
    names = {each.get("name") for _, each in people if isinstance(each.get("name"), str)}
    needed = declared.get("needed", 1)
    if is_whole(needed) and len(names) < needed and names:
        check.at(
            ("approvals", "needed"),
            "SPEC-054",
            f"{needed} people have to approve, and {len(names)} may",
            why="no plan could be applied",
            do="list more people in approvals.keys, or ask for fewer",
        )
    seen: dict[bytes | str, str] = {}
    for index, each in people:
        name = each.get("name")
        if isinstance(name, str):
            _check_shared(check, index, name, each, seen)


def _check_shared(check: Check, index: int, name: str, person: Json, seen: dict[bytes | str, str]) -> None:
    known: list[tuple[bytes | str, str]] = [(name.casefold(), "name")]
    known += [(text.casefold(), "accounts") for text in items(person.get("accounts")) if isinstance(text, str)]
    key = person.get("public_key")
    if isinstance(key, str):
        try:
            known.append((spki_of(key), "public_key"))
        except ValueError:
            known.append((key, "public_key"))
    for value, field in known:
        other = seen.setdefault(value, name)
        if other != name:
            check.at(
                ("approvals", "keys", index, field),
                "SPEC-055",
                f"{name} and {other} share {'a key' if field == 'public_key' else 'an account'}",
                why="who approved could not be told apart",
                do="give everybody a key and accounts of their own",
            )
