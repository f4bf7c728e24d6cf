"""Points in time as text, in UTC to the millisecond."""

from __future__ import annotations

from reconciler.core.times import timestamp


def test_a_time_is_told_in_utc_to_the_millisecond() -> None:
    assert timestamp(0.5) == "1970-01-01T00:00:00.500Z"
    assert timestamp(1_764_000_000.0) == "2025-11-24T16:00:00.000Z"
