"""Counts tokens in a stream of server-sent events without parsing their JSON.

Imports only the standard library. Pure. Called by `loadtests.connection` for every piece that arrives, so it is the
hottest code of the engine: one regular expression a piece, JSON is looked at for usage and errors only.
"""

from __future__ import annotations

import re

# A quote inside a JSON string is written \", so `"content":"` can only be a key; the look-ahead skips empty deltas
# (the role-only first event of a chat, the last event with `finish_reason`).
_TOKEN = re.compile(rb'"(?:content|text|reasoning_content|reasoning|arguments)":\s?"(?!")')
_ERROR = re.compile(rb'^data:\s?\{\s?"(?:error"|object":\s?"error")', re.MULTILINE)
_OUT = re.compile(rb'"completion_tokens":\s?(\d+)')
_IN = re.compile(rb'"prompt_tokens":\s?(\d+)')
_DONE = re.compile(rb"^data:\s?\[DONE\]\s*\Z", re.MULTILINE)


class EventCounter:
    """Counts the token events of one answer. An event counts once, however many tokens the server packed into it.

    `done` after `[DONE]`; `error` is the first error event's text; `usage_out` and `usage_in` are the server's own
    counts, None until it says them.
    """

    __slots__ = ("_rest", "done", "error", "usage_in", "usage_out")

    def __init__(self) -> None:
        self.done = False
        self.error: str | None = None
        self.usage_out: int | None = None
        self.usage_in: int | None = None
        self._rest = b""

    def feed(self, payload: bytes) -> int:
        """Return how many token events `payload` completes."""
        if self._rest:
            payload = self._rest + payload
            self._rest = b""
        if not payload.endswith(b"\n\n"):
            payload = self._whole(payload)
        events = payload.count(b"data:")
        if events == 1 and _TOKEN.search(payload):
            return 1
        tokens = len(_TOKEN.findall(payload))
        if events != tokens:
            self._look(payload)
        return tokens

    def _whole(self, payload: bytes) -> bytes:
        """Keep what follows the last complete event for the next call; CR LF line ends become LF."""
        if b"\r" in payload:
            payload = payload.replace(b"\r\n", b"\n")
        end = payload.rfind(b"\n\n")
        end = 0 if end < 0 else end + 2
        self._rest = payload[end:]
        return payload[:end]

    def _look(self, payload: bytes) -> None:
        """Read the events that carry no token: usage, errors and the end."""
        if out := _OUT.search(payload):
            self.usage_out = int(out.group(1))
        if prompt := _IN.search(payload):
            self.usage_in = int(prompt.group(1))
        if self.error is None and (bad := _ERROR.search(payload)):
            self.error = payload[bad.start() : bad.start() + 300].decode("utf-8", "replace").strip()
        if _DONE.search(payload):
            self.done = True
