"""One request and what became of it; the record that every figure is computed from.

Imports only the standard library. Written by the connection, read by the result.
"""

from __future__ import annotations

from array import array
from enum import StrEnum


class Outcome(StrEnum):
    """How a request ended. Everything but OK is a failed request; CANCELLED is left out of all figures."""

    OK = "ok"
    HTTP_STATUS = "http_status"
    STREAM_ERROR = "stream_error"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    PROTOCOL = "protocol"
    CONNECT = "connect"
    TIMEOUT = "timeout"
    WRONG_SLOT = "wrong_slot"
    CANCELLED = "cancelled"


class Stream:
    """One streaming request. Times are `time.perf_counter()` seconds; 0.0 is "not yet".

    `at` is when it should have started: latency counts from there. `started` is when the engine got to it, `sent` is
    when its bytes went to the socket (later than `started` when no connection was free). `times` has one entry a
    token event. `usage_out` is the server's own token count, None where it gave none.
    """

    __slots__ = (
        "arm",
        "at",
        "detail",
        "end",
        "outcome",
        "output_tokens",
        "retried",
        "sent",
        "session",
        "started",
        "times",
        "turn",
        "usage_in",
        "usage_out",
        "wire",
    )

    def __init__(self, *, arm: int, session: int, turn: int, at: float, wire: bytes, output_tokens: int) -> None:
        self.arm = arm
        self.session = session
        self.turn = turn
        self.at = at
        self.wire = wire
        self.output_tokens = output_tokens
        self.started = 0.0
        self.sent = 0.0
        self.end = 0.0
        self.times: array[float] = array("d")
        self.outcome: Outcome | None = None
        self.detail = ""
        self.usage_out: int | None = None
        self.usage_in: int | None = None
        self.retried = False

    @property
    def request_id(self) -> str:
        """Return the id within a run; it is sent as the end of `x-request-id`."""
        return f"{self.arm}-{self.session}-{self.turn}"

    @property
    def ok(self) -> bool:
        """Return whether the whole answer came."""
        return self.outcome is Outcome.OK

    @property
    def ttft_s(self) -> float | None:
        """Return seconds from the scheduled time to the first token; None when none came."""
        return self.times[0] - self.at if self.times else None

    @property
    def tokens(self) -> int:
        """Return the server's token count, or the number of token events when it gave none."""
        return len(self.times) if self.usage_out is None else self.usage_out
