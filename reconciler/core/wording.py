"""How a number of things is said. Pure."""

from __future__ import annotations


def number_of(count: int, thing: str) -> str:
    """Return `1 round`, `2 rounds`, `1,000 rounds`: the plural of `thing` ends in s."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
