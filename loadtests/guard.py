"""Decides whether the champion's own users suffer from a load, so that the load stops before they do much.

Imports `loadtests.profile`. Pure: the caller reads the figures and passes them in. The load gate's abort hook calls it.
"""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.profile import LiveGuard

REQUESTS_MIN = 20


@dataclass(frozen=True)
class LiveFigures:
    """The champion's live traffic over a window. None where the platform does not tell; `ttft_ms` is a percentile."""

    requests: int
    errors: int
    ttft_ms: float | None = None
    waiting: float | None = None


class LiveWatch:
    """Compares windows of live traffic with the one before the load; two bad ones in a row are a reason to stop.

    One bad window is noise more often than harm; the second comes `poll_s` later.
    """

    def __init__(self, before: LiveFigures, limits: LiveGuard) -> None:
        self._before = before
        self._limits = limits
        self._bad = 0

    def reason(self, now: LiveFigures) -> str | None:
        """Return why the load must stop, None to go on. Call it once a window."""
        complaint = self._complaint(now)
        self._bad = self._bad + 1 if complaint else 0
        return complaint if self._bad >= 2 else None

    def _complaint(self, now: LiveFigures) -> str | None:
        limits, before = self._limits, self._before
        if now.waiting is not None and now.waiting > limits.waiting_max:
            return f"{now.waiting:.0f} requests wait at the champion, the limit is {limits.waiting_max}"
        if now.requests < REQUESTS_MIN:
            return None
        error_rate = now.errors / now.requests
        usual = before.errors / before.requests if before.requests else 0.0
        if error_rate > usual + limits.error_rate:
            return f"{error_rate:.1%} of live requests fail at the champion, before the load it was {usual:.1%}"
        if before.ttft_ms and now.ttft_ms is not None and now.ttft_ms > limits.ttft_ratio * before.ttft_ms:
            return (
                f"live TTFT at the champion went from {before.ttft_ms:.0f} to {now.ttft_ms:.0f} ms, "
                f"the limit is {limits.ttft_ratio:g} times"
            )
        return None
