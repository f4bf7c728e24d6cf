"""Tokens that a release read and wrote: counts that belong to the same finished answers. Pure data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tokens:
    """What `answers` finished answers read (`input`) and wrote (`output`), in tokens.

    An answer that is still being written, or whose client left, is in none of the three: a mean of tokens over
    answers never divides the tokens of some requests by the number of others.
    """

    answers: int = 0
    input: int = 0
    output: int = 0


def tokens_between(before: Tokens | None, after: Tokens | None) -> Tokens | None:
    """Return what was counted between two readings; None when one of them is missing or a count has fallen."""
    if before is None or after is None:
        return None
    moved = (after.answers - before.answers, after.input - before.input, after.output - before.output)
    return Tokens(*moved) if min(moved) >= 0 else None


def tokens_of_both(one: Tokens | None, other: Tokens | None) -> Tokens | None:
    """Return the sum of two periods; one without counts is left out, and None is for neither having any."""
    if one is None or other is None:
        return one or other
    return Tokens(one.answers + other.answers, one.input + other.input, one.output + other.output)
