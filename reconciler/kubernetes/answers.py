"""What the API server's answers say: a refusal with its reason and causes, or no answer at all. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.kubernetes.kinds import Body

_OWNER = re.compile(r'conflict with "([^"]+)"(?: with subresource "([^"]+)")?(?: using (\S+))?(?: at (\S+))?')
_TOO_LARGE = "too large resource version"


@dataclass(frozen=True)
class Cause:
    """One entry of a Status's `details.causes`."""

    reason: str
    message: str
    field: str


class Refusal(Exception):
    """The API server answered with an error; the text is its own message.

    `retry_after_s` is what it asks a client to wait, None where it asks nothing.
    """

    def __init__(self, code: int, body: Body, retry_after_s: float | None = None) -> None:
        super().__init__(str(body.get("message") or f"HTTP {code}"))
        details: Any = body.get("details")
        self.code = code
        self.reason = str(body.get("reason") or "")
        self.details: Body = details if isinstance(details, dict) else {}
        self.retry_after_s = retry_after_s if retry_after_s is not None else self.details.get("retryAfterSeconds")

    @property
    def message(self) -> str:
        """Return the server's own words."""
        return str(self.args[0])

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Return what the Status lists as causes, in its order."""
        rows = self.details.get("causes") or []
        return tuple(Cause(r.get("reason", ""), r.get("message", ""), r.get("field", "")) for r in rows)

    @property
    def version_is_gone(self) -> bool:
        """Return whether the resourceVersion that was asked for is no longer known, or not yet: list again."""
        gone = self.code == 410 or self.reason in ("Expired", "Gone")
        ahead = any(c.reason == "ResourceVersionTooLarge" for c in self.causes) or _TOO_LARGE in self.message.lower()
        return gone or ahead

    @property
    def absent_object(self) -> str:
        """Return `kind "name"` of the object that a 404 is about; empty where the path itself is unknown."""
        name = self.details.get("name")
        return f'{self.details.get("kind", "object")} "{name}"' if self.code == 404 and name else ""


class NoAnswer(Exception):
    """The API server could not be asked, or did not answer to the end; the text says why."""

    def __init__(self, why: str, *, tls: bool = False) -> None:
        super().__init__(why)
        self.tls = tls


class NoCredentials(Exception):
    """What should make a credential for the API server failed; the text is its own message."""


@dataclass(frozen=True)
class Owner:
    """Who owns a field that an apply would have changed. `at` is empty where the object does not say it."""

    field: str
    manager: str
    operation: str
    at: str


def refusal_of(code: int, headers: Mapping[str, str], text: str) -> Refusal:
    """Read an error answer, which need not be a Status: a path that nobody serves is answered in plain text."""
    try:
        body = json.loads(text)
    except ValueError:
        body = {"message": text.strip()[:500]}
    return Refusal(code, body if isinstance(body, dict) else {}, _seconds(headers.get("retry-after")))


def refusal_in_stream(status: Body) -> Refusal:
    """Read the Status of an ERROR event, which comes inside a stream that began with 200."""
    return Refusal(int(status.get("code") or 500), status)


def event_of(line: bytes) -> tuple[str, Body]:
    """Read a line of a watch, five times as fast as the standard library does: a region's first list is thousands.

    Raises:
        Refusal: the line is an ERROR event. NoAnswer: it is no event.
    """
    import msgspec

    try:
        event = msgspec.json.decode(line)
        kind, body = str(event["type"]), dict(event["object"])
        if kind == "ERROR":
            raise refusal_in_stream(body)
        _ = body["metadata"]["resourceVersion"], kind == "BOOKMARK" or body["metadata"]["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise NoAnswer(f"a line of the watch is no event: {error!r}") from error
    return kind, body


def owners(refusal: Refusal, managed: Sequence[Body] = ()) -> tuple[Owner, ...]:
    """Return who owns the fields in conflict, in the server's order; `managed` are the object's `managedFields`.

    The owner's name stands in the message of a cause alone, and when it wrote only in `managedFields`.
    Source: apimachinery `managedfields/internal/conflict.go`: the version is printed for the operation Update alone.
    """
    causes = [cause for cause in refusal.causes if cause.reason == "FieldManagerConflict"]
    return tuple(_owner(cause, _OWNER.search(cause.message), managed) for cause in causes)


def _owner(cause: Cause, match: re.Match[str] | None, managed: Sequence[Body]) -> Owner:
    if match is None:
        return Owner(cause.field, cause.message, "", "")
    manager, operation = match[1], "Update" if match[3] else "Apply"
    wanted = (manager, operation, match[2] or "")
    times = [str(m.get("time", "")) for m in managed if _identity(m) == wanted]
    return Owner(cause.field, manager, operation, match[4] or max(times, default=""))


def _identity(entry: Body) -> tuple[str, str, str]:
    return entry.get("manager", ""), entry.get("operation", ""), entry.get("subresource", "")


def _seconds(header: str | None) -> float | None:
    """Read Retry-After; API servers send seconds, and a date is as good as nothing."""
    return float(header) if header is not None and header.strip().isdigit() else None
