"""One error type that says where, what, why and what to do; every part of Sluice raises it.

Imports only `environments.redact`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from environments.redact import redact


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong, with a code that documentation and tests can refer to.

    `where` is `FILE:LINE` for a file and an address (`prod/eu-west-1/chat`) for something live.
    """

    where: str
    code: str
    what: str
    why: str = ""
    do: str = ""

    def __post_init__(self) -> None:
        """Hide secrets, so that no message, log or ledger ever holds one, whoever made the text."""
        for name in ("where", "what", "why", "do"):
            object.__setattr__(self, name, redact(getattr(self, name)))

    def render(self) -> str:
        """Return the problem as up to four lines of text, without colour."""
        lines = [f"{self.code}  {self.where}" if self.where else self.code, f"  what: {self.what}"]
        if self.why:
            lines.append(f"  why:  {self.why}")
        if self.do:
            lines.append(f"  do:   {self.do}")
        return "\n".join(lines)


class SluiceError(Exception):
    """An error that a person can act on.

    `retryable` says that the same call may succeed later without a change by anyone.
    """

    def __init__(
        self, code: str, *, what: str, where: str = "", why: str = "", do: str = "", retryable: bool = False
    ) -> None:
        self.problem = Problem(where=where, code=code, what=what, why=why, do=do)
        self.retryable = retryable
        super().__init__(self.problem.render())

    @property
    def code(self) -> str:
        """Return the code, such as `PLAN-003`."""
        return self.problem.code

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return every problem behind this error, sorted."""
        return (self.problem,)


class SpecError(SluiceError):
    """Everything that is wrong with one environment file, found in one pass and sorted by line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first, *_ = self._problems = tuple(sorted(problems, key=_by_line))
        super().__init__(first.code, what=first.what, where=first.where, why=first.why, do=first.do)
        self.args = ("\n".join(p.render() for p in self._problems),)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return every problem, sorted by file and line."""
        return self._problems


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` (nearest: "x"; known: "x", "y")` for a message about an unknown name."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f'nearest: "{close[0]}"; ' if close else ""
    return f"{hint}known: {', '.join(names) or 'none'}"


def _by_line(problem: Problem) -> tuple[str, int, str, str]:
    path, _, line = problem.where.rpartition(":")
    return (
        (path, int(line), problem.code, problem.what)
        if line.isdigit()
        else (problem.where, 0, problem.code, problem.what)
    )
