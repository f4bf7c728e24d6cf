"""Findings: what a policy said of a plan or of infrastructure. Pure data; plans carry them, outputs show them."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.canonical import Json

LEVELS = ("deny", "warn", "info")


@dataclass(frozen=True, order=True)
class Finding:
    """One outcome of one policy. `level` is `deny`, `warn` or `info`; `address` says what it is about."""

    policy: str
    level: str
    address: str
    message: str

    def to_json(self) -> Json:
        """Return the finding as `plan --json` shows it."""
        return {"policy": self.policy, "level": self.level, "address": self.address, "message": self.message}
