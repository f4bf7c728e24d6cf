"""Infrastructure and releases as one plan: previews merged into it, and brought up before it, in order.

Called by `plan --infra` and `apply`. Nothing is brought up that was not previewed, and releases begin only where what
was done is what was planned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from environments.errors import SluiceError
from reconciler.core.plan.infrastructure import StackPreview, differences, summary
from reconciler.ports.infrastructure import Infrastructure

_FAILED = "INFRA-014"


async def previews(infrastructure: Infrastructure) -> tuple[StackPreview, ...]:
    """Return each project's preview, in the order in which they are brought up.

    A project that fails while an earlier one has changes to come is unknown until then: what it reads is not there.

    Raises:
        SluiceError: `INFRA-…` a project fails for which no earlier one is to blame.
    """
    names = infrastructure.projects()
    found = await asyncio.gather(*map(infrastructure.preview, names), return_exceptions=True)
    made: list[StackPreview] = []
    for name, outcome in zip(names, found, strict=True):
        if isinstance(outcome, StackPreview):
            made.append(outcome)
        elif _waits(outcome, made):
            made.append(StackPreview(name, unknown=f"it reads what comes first: {_first_line(outcome)}"))
        else:
            raise outcome
    return tuple(made)


async def bring_up(
    infrastructure: Infrastructure, planned: Sequence[StackPreview], *, environment: str, say: Callable[[str], None]
) -> None:
    """Bring up every project that has changes, in order, and stop where something else was done than planned.

    Raises:
        SluiceError: `INFRA-015` reality differs from the preview; `INFRA-…` Pulumi fails. What was done stays.
    """
    for preview in planned:
        if preview.unknown is not None:
            raise _differs(environment, preview.project, "it could not be previewed before what comes first was there")
        if not preview.changes:
            continue
        say(f"{environment}/{preview.project}: {summary(preview)}")
        done = await infrastructure.bring_up(preview.project)
        if otherwise := differences(preview, done):
            raise _differs(environment, preview.project, "; ".join(otherwise))


def _waits(outcome: BaseException, earlier: Sequence[StackPreview]) -> bool:
    behind = any(preview.changes or preview.unknown is not None for preview in earlier)
    return behind and isinstance(outcome, SluiceError) and outcome.code == _FAILED


def _first_line(error: BaseException) -> str:
    if not isinstance(error, SluiceError):
        raise TypeError(type(error).__name__)
    return next((line.strip() for line in error.problem.what.splitlines()[1:] if line.strip()), error.problem.what)


def _differs(environment: str, project: str, what: str) -> SluiceError:
    return SluiceError(
        "INFRA-015",
        where=f"{environment}/{project}",
        what=what,
        why="what was approved is not what is there, so no release was touched",
        do=f"look at it, then plan again: sluice plan {environment} --infra -o plan.json",
    )
