"""A recorded load: one arrival a line of a file. Imports no numpy: a plan reads traces to find what is bad in them."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from environments.errors import Problem, SpecError


class TraceLine(BaseModel):
    """One recorded arrival. Token counts are None where the recording has none: the profile's lengths are drawn."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    at_s: float = Field(ge=0)
    prompt_tokens: int | None = Field(default=None, ge=1)
    output_tokens: int | None = Field(default=None, ge=1)


def read_trace(path: Path) -> list[TraceLine]:
    """Return the recorded arrivals of a file, in its order.

    Raises:
        SpecError: `LOAD-007` it cannot be read, is empty or has bad lines.
    """
    do = 'write a JSON object a line: {"at_s": 0.31, "prompt_tokens": 120, "output_tokens": 48}'
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([Problem(str(path), "LOAD-007", "the trace cannot be read", str(error), do)]) from None
    lines: list[TraceLine] = []
    problems: list[Problem] = []
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            lines.append(TraceLine.model_validate(json.loads(row)))
        except (json.JSONDecodeError, ValidationError) as error:
            why = str(error).splitlines()[0]
            problems.append(Problem(f"{path}:{number}", "LOAD-007", "not a recorded arrival", why, do))
    if problems or not lines:
        raise SpecError(problems or [Problem(str(path), "LOAD-007", "the trace is empty", "", do)])
    return lines
