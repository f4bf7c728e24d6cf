"""The base of every block of the environment file."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Unknown keys are errors, values never change type, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return itself: pydantic copies a default for each block that leaves it out, and what is frozen needs none."""
        return self
