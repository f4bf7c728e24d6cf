"""Ask several questions at once, and tell everything that is wrong together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar, cast

from environments.errors import SluiceError, SpecError

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


async def all_of(one: Awaitable[A], two: Awaitable[B], three: Awaitable[C]) -> tuple[A, B, C]:
    """Return what three questions are answered; what is wrong with any of them is told together.

    Raises:
        SluiceError: the problems of all that failed.
    """
    answers = await asyncio.gather(one, two, three, return_exceptions=True)
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    errors = [error for error in failed if isinstance(error, SluiceError)]
    if len(failed) > 1 and len(errors) == len(failed):
        raise SpecError([problem for error in errors for problem in error.problems])
    for error in failed:
        raise error
    return cast("tuple[A, B, C]", tuple(answers))
