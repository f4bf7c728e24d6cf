"""One target under load: bounds what is in flight, ends what takes too long, keeps the record of every request.

Imports `loadtests.connection`, `loadtests.profile`, `loadtests.stream`, `loadtests.target` and `loadtests.workload`.
Called by the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter

from loadtests.connection import Pool, wire_of
from loadtests.profile import Profile
from loadtests.stream import Outcome, Stream
from loadtests.target import Target
from loadtests.workload import Turn

PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
GIVE_UP_AFTER = 50


class Arm:
    """The requests to one target. `streams` has all of them in the order in which they were due.

    Past `max_in_flight` a request waits in line; its latency counts all the same from when it was due.
    """

    def __init__(
        self,
        index: int,
        target: Target,
        *,
        profile: Profile,
        salt: str,
        on_done: Callable[[Stream], None] | None,
    ) -> None:
        self.target = target
        self.streams: list[Stream] = []
        self.in_flight_max = 0
        self.failed_in_a_row = 0
        self.on_finished: Callable[[Stream], None] = lambda stream: None
        self._index = index
        self._profile = profile
        self._salt = salt
        self._on_done = on_done
        self._pool = Pool(target, self._finished)
        self._flying: dict[Stream, None] = {}
        self._line: deque[Stream] = deque()

    @property
    def in_flight(self) -> int:
        """Return how many requests have neither ended nor been given up, those in line included."""
        return len(self._flying) + len(self._line)

    @property
    def given_up(self) -> bool:
        """Return whether so many requests failed one after the other that more would tell nothing."""
        return self.failed_in_a_row >= GIVE_UP_AFTER

    def begin(self, turn: Turn, *, session: int, number: int, at: float) -> Stream:
        """Send a request that was due at `at`, or put it in line."""
        stream = Stream(
            arm=self._index, session=session, turn=number, at=at, wire=b"", output_tokens=turn.output_tokens
        )
        stream.wire = wire_of(self.target, PATHS[self._profile.api], turn.body, f"{self._salt}-{stream.request_id}")
        stream.started = perf_counter()
        self.streams.append(stream)
        if len(self._flying) < self._profile.max_in_flight:
            self._send(stream)
        else:
            self._line.append(stream)
        return stream

    def expire(self, now: float) -> None:
        """End requests that were due more than `timeout_s` ago; oldest first, so the first young one ends the look."""
        detail = f"no whole answer {self._profile.timeout_s:g} s after it was due"
        for waiting in (self._flying, self._line):
            late: list[Stream] = []
            for stream in waiting:
                if now - stream.at < self._profile.timeout_s:
                    break
                late.append(stream)
            for stream in late:
                self.abandon(stream, Outcome.TIMEOUT, detail)

    def abandon(self, stream: Stream, outcome: Outcome, detail: str) -> None:
        """Give one request up, sent or in line; succeed if it has ended."""
        if stream in self._flying:
            self._pool.abandon(stream, outcome, detail)
        elif stream in self._line:
            self._line.remove(stream)
            stream.outcome, stream.detail, stream.end = outcome, detail, perf_counter()
            self._finished(stream)

    def abandon_all(self, outcome: Outcome, detail: str) -> None:
        """Give every request up."""
        for stream in (*self._line, *self._flying):
            self.abandon(stream, outcome, detail)

    def close(self) -> None:
        """Close every connection."""
        self.abandon_all(Outcome.CANCELLED, "the load has ended")
        self._pool.close()

    def _send(self, stream: Stream) -> None:
        self._flying[stream] = None
        self.in_flight_max = max(self.in_flight_max, len(self._flying))
        self._pool.send(stream)

    def _finished(self, stream: Stream) -> None:
        self._flying.pop(stream, None)
        self._pool.done(stream)
        stream.wire = b""
        if stream.outcome is not Outcome.CANCELLED:
            self.failed_in_a_row = 0 if stream.ok else self.failed_in_a_row + 1
            while self._line and len(self._flying) < self._profile.max_in_flight:
                self._send(self._line.popleft())
        if self._on_done is not None and stream.session > -1_000_000:
            self._on_done(stream)
        self.on_finished(stream)
