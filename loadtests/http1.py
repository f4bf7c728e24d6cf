"""Just enough HTTP/1.1 to read an answer as it arrives: the head, and bodies that are chunked, counted or cut by close.

Imports only the standard library. Pure: bytes in, bytes out. Called by `loadtests.connection`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

HEAD_MAX = 65_536
_CHUNK_MAX = 64 * 1024 * 1024


@dataclass(frozen=True)
class Head:
    """Status and headers of an answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def closes(self) -> bool:
        """Return whether the connection cannot be used again."""
        return self.headers.get("connection", "").lower() == "close"


def parse_head(raw: bytes) -> Head:
    """Return the head in `raw`, which ends before the blank line.

    Raises:
        ValueError: it is not an HTTP/1.x head.
    """
    first, *rest = raw.decode("latin-1").split("\r\n")
    version, status, *_ = [*first.split(" ", 2), ""]
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise ValueError(f"not an HTTP/1.1 answer: {first[:60]!r}")
    pairs = (line.partition(":") for line in rest)
    return Head(int(status), {name.strip().lower(): value.strip() for name, _, value in pairs})


class Body(Protocol):
    """Reads a body piece by piece; `done` when it is complete."""

    done: bool

    def feed(self, data: bytes) -> bytes:
        """Return the payload that `data` completes, empty when it completes none.

        Raises:
            ValueError: the framing is broken.
        """
        ...


def body_of(head: Head) -> Body:
    """Return the reader that the head asks for.

    Raises:
        ValueError: a content length that is not a number.
    """
    if "chunked" in head.headers.get("transfer-encoding", "").lower():
        return ChunkedBody()
    length = head.headers.get("content-length")
    if length is not None:
        return CountedBody(int(length))
    return CountedBody(0) if head.status in (204, 304) else OpenBody()


class ChunkedBody:
    """A body in chunks. A chunk is handed on when it is whole: servers send an event a chunk."""

    __slots__ = ("_rest", "done")

    def __init__(self) -> None:
        self.done = False
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the payload of the chunks that `data` completes; trailers are dropped."""
        if self._rest:
            data = self._rest + data
        line_end = data.find(b"\r\n")
        size = len(data) - line_end - 4
        if size > 0 and data[:line_end] == b"%x" % size:  # one whole chunk and nothing else: nearly always
            self._rest = b""
            return data[line_end + 2 : -2]
        payload: list[bytes] = []
        at = 0
        while (line_end := data.find(b"\r\n", at)) >= 0:
            size = _chunk_size(data[at:line_end])
            if size == 0:
                self.done = data.find(b"\r\n\r\n", line_end) >= 0
                break
            end = line_end + 2 + size
            if len(data) < end + 2:
                break
            payload.append(data[line_end + 2 : end])
            at = end + 2
        self._rest = data[at:]
        return payload[0] if len(payload) == 1 else b"".join(payload)


class CountedBody:
    """A body of a known number of bytes."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> bytes:
        """Return `data`, and drop what is beyond the length."""
        payload = data[: self._left]
        self._left -= len(payload)
        self.done = self._left == 0
        return payload


class OpenBody:
    """A body that ends when the server closes; the connection sets `done`."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """Return `data`."""
        return data


def _chunk_size(line: bytes) -> int:
    try:
        size = int(line, 16)
    except ValueError:
        size = int(line.partition(b";")[0], 16)
    if not 0 <= size <= _CHUNK_MAX:
        raise ValueError(f"a chunk of {size} bytes")
    return size
