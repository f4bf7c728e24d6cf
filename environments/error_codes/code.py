"""What the registry says of one error code. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

Row = tuple[str, str, str, str]
"""Code, title, when it appears, what to do."""


@dataclass(frozen=True)
class ErrorCode:
    """One code. The message of an error says where and what it is about this time; this says it in general."""

    code: str
    title: str
    when: str
    do: str

    @property
    def area(self) -> str:
        """Return the code's prefix, such as `PLAN`."""
        return self.code.partition("-")[0]
