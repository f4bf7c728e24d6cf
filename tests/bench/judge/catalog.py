"""All scenarios of the bench, and the choice of some by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from environments.errors import nearest
from tests.bench.judge.cases import Case, count_cases
from tests.bench.judge.stream_cases import StreamCase, stream_cases

AnyCase = Case | StreamCase


def all_cases(scale: float = 1.0) -> tuple[AnyCase, ...]:
    """Return every scenario, runs multiplied by `scale`."""
    every: tuple[AnyCase, ...] = (*count_cases(), *stream_cases())
    return tuple(replace(case, runs=max(20, round(case.runs * scale))) for case in every)


def chosen(cases: Sequence[AnyCase], patterns: Sequence[str]) -> tuple[AnyCase, ...]:
    """Return the cases whose name or group fits one of the patterns (`*` stands for anything).

    Raises:
        ValueError: a pattern fits no case.
    """
    for pattern in patterns:
        if not any(_fits(case, pattern) for case in cases):
            raise ValueError(f"no case is called {pattern}; {nearest(pattern, [case.name for case in cases])}")
    return tuple(case for case in cases if any(_fits(case, pattern) for pattern in patterns))


def _fits(case: AnyCase, pattern: str) -> bool:
    return fnmatchcase(case.name, pattern) or (bool(case.group) and fnmatchcase(case.group, pattern))
