"""Text in GitHub-flavoured Markdown: whatever a plan quotes is shown, and never acts. Pure.

What stands in a pull request was written by whoever opened it: no text of theirs may mention people, refer to issues,
open tags, break a row or end a block.
"""

from __future__ import annotations

import re

_ACTIVE = re.compile(r"([\\`*\[\]!~|]|(?<!\w)_|_(?!\w))")
_MENTIONS = re.compile(r"([@#])(?=\w)")


def plain(text: str) -> str:
    """Return text for a paragraph or a cell."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MENTIONS.sub(r"\1<!-- -->", _ACTIVE.sub(r"\\\1", text))


def written(text: str) -> str:
    """Return text of ours, which may hold code spans, for a cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def code(text: str) -> str:
    """Return text as a code span that also a table keeps whole."""
    inner = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{inner}`" if inner else ""


def fenced(lines: list[str], kind: str) -> list[str]:
    """Return a block of code that no line of it can end."""
    longest = max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{kind}", *(" ".join(line.split("\n")) for line in lines), fence]
