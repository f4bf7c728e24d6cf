"""Reads the pages: their links, the anchors of their headings, and the commands that they show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

_FENCE = re.compile(r"^ {0,3}```+ *([\w-]*)[^\n]*\n(.*?)^ {0,3}```+ *$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\\)\[[^\]\n]*\]\(([^)\s]+)\)")
_INLINE = re.compile(r"`([^`\n]+)`")
_PROGRAMS = ("sluice", "make")
_SHELL = ("sh", "bash", "console", "shell")


@dataclass(frozen=True)
class Shown:
    """A command that a page shows, with the line it stands on."""

    page: str
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {' '.join(self.words)}"


def pages() -> list[Path]:
    """Return every page that people read, sorted."""
    roots = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "tests/README.md")]
    return sorted([*roots, *(ROOT / "docs").rglob("*.md")])


def links(page: Path) -> list[str]:
    """Return the targets of a page's links, code left out."""
    return _LINK.findall(_INLINE.sub("", _FENCE.sub("", page.read_text())))


def anchors(page: Path) -> set[str]:
    """Return what a link may point at in a page: its headings as the site and code review name them, and ids."""
    text = _FENCE.sub("", page.read_text())
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    slugs = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


def commands(page: Path) -> Iterator[Shown]:
    """Yield every `sluice` and `make` command that a page shows, in blocks and between backticks."""
    return commands_in(str(page.relative_to(ROOT)), page.read_text())


def commands_in(name: str, text: str) -> Iterator[Shown]:
    """Yield the commands in a page's text."""
    for fence in _FENCE.finditer(text):
        first = text.count("\n", 0, fence.start(2)) + 1
        for number, line in _shell_lines(fence[2], is_shell=fence[1] in _SHELL):
            yield from _in_line(name, first + number, line)
    blank = _FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)
    for found in _INLINE.finditer(blank):
        yield from _in_line(name, blank.count("\n", 0, found.start()) + 1, found[1])


def _shell_lines(block: str, *, is_shell: bool) -> Iterator[tuple[int, str]]:
    """Yield the commands of a block: all lines of a shell's, and what follows `$ ` elsewhere; `\\` joins lines."""
    held, begun = "", 0
    for number, line in enumerate(block.splitlines()):
        begun = begun if held else number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        whole, held = held + line, ""
        if whole.lstrip().startswith("$ "):
            yield begun, whole.lstrip()[2:]
        elif is_shell:
            yield begun, whole


def _in_line(page: str, line: int, text: str) -> Iterator[Shown]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return
    command: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set("|&;()<>"):
            yield from _command(page, line, command)
            command = []
        else:
            command.append(word)


def _command(page: str, line: int, words: list[str]) -> Iterator[Shown]:
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    words = [word.strip("[]") for word in words]  # [--junit FILE] is how a page says that it may be left out
    if len(words) > 1 and words[0].rpartition("/")[2] in _PROGRAMS:
        yield Shown(page, line, (words[0].rpartition("/")[2], *words[1:]))
