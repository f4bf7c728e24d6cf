"""Small words that people read in several places: owners, durations, bars. Pure."""

from __future__ import annotations

import re

_OWNER = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:]+)(?:[/:].*)?")
BAR_WIDTH = 10


def owner_words(owner: str) -> str:
    """Return an owner as people read it: `root on vm`, or the machine alone where it names nobody."""
    found = _OWNER.fullmatch(owner)
    if found is None:
        return owner
    return f"{found['user']} on {found['host']}" if found["user"] else f"a process on {found['host']}"


def duration_words(seconds: float) -> str:
    """Return a duration as people say it: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3600} h" + (f" {whole % 3600 // 60} min" if whole % 3600 // 60 else "")


def bar(share: float) -> str:
    """Return a bar that is full at 1, with the share in percent, such as `███·······  30 %`."""
    kept = max(0.0, min(1.0, share))
    filled = round(kept * BAR_WIDTH)
    return f"{'█' * filled}{'·' * (BAR_WIDTH - filled)} {round(100 * kept):3d} %"
