"""Turn YAML text into a tree, from parser events, so that no input can exhaust the stack or the memory.

Imports PyYAML and the tree. `environments.load` calls it.
Scalars follow YAML 1.2: `yes`, `on`, `010` and dates stay text, so a value never changes type behind one's back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from environments.errors import Problem
from environments.yaml_tree import Block, Items, Node, Scalar

MAX_DEPTH = 24
MAX_NODES = 20_000
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def parse_yaml(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """Return the tree of the one document in `text`, and everything that is wrong with its YAML."""
    import yaml

    builder = _Builder(file)
    try:
        for event in _events(text):
            if not builder.take(event):
                break
    except yaml.MarkedYAMLError as error:
        builder.problems.append(_syntax_problem(error, text, file))
        return None, builder.problems
    except yaml.YAMLError:
        builder.report(1, "SPEC-004", "this is not YAML", do="start from `sluice schema` or a shipped file")
        return None, builder.problems
    return builder.root, builder.problems


def _events(text: str) -> Iterator[Any]:
    import yaml

    return iter(yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)))


@dataclass
class _Frame:
    """A block or list that is still open. `key` is the key that waits for its value: (text or None, line)."""

    line: int
    anchor: str | None
    is_block: bool
    entries: dict[str, tuple[int, Node]] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    key: tuple[str | None, int] | None = None
    size: int = 1

    def close(self) -> Node:
        """Return the finished node."""
        if self.is_block:
            return Block(self.line, self.entries, self.size)
        return Items(self.line, tuple(self.items), self.size)


class _Builder:
    """Turns parser events into nodes; keeps going after everything that leaves the structure readable."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self._anchors: dict[str, Node] = {}
        self._stack: list[_Frame] = []
        self._documents = 0

    def report(self, line: int, code: str, what: str, *, why: str = "", do: str = "") -> None:
        """Note one thing that is wrong."""
        self.problems.append(Problem(f"{self.file}:{line}", code, what, why, do))

    def take(self, event: Any) -> bool:
        """Handle one event; return False when reading on makes no sense."""
        import yaml

        match event:
            case yaml.DocumentStartEvent():
                return self._begin_document(event)
            case yaml.ScalarEvent():
                return self._add(self._scalar(event), event.anchor)
            case yaml.AliasEvent():
                return self._alias(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                return self._open(event, isinstance(event, yaml.MappingStartEvent))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                frame = self._stack.pop()
                return self._add(frame.close(), frame.anchor)
            case _:
                return True

    def _begin_document(self, event: Any) -> bool:
        self._documents += 1
        if self._documents == 1:
            return True
        self.report(
            event.start_mark.line + 1,
            "SPEC-006",
            "a second YAML document begins here",
            why="one file declares one environment",
            do="remove the `---`, or move what follows into a file of its own",
        )
        return False

    def _open(self, event: Any, is_block: bool) -> bool:
        line = event.start_mark.line + 1
        self._refuse_tag(event.tag, line)
        if len(self._stack) >= MAX_DEPTH:
            self.report(line, "SPEC-007", f"blocks are nested more than {MAX_DEPTH} deep", do="check the brackets")
            return False
        self._stack.append(_Frame(line, event.anchor, is_block))
        return True

    def _alias(self, event: Any) -> bool:
        line = event.start_mark.line + 1
        node = self._anchors.get(event.anchor)
        if node is None:
            self.report(
                line,
                "SPEC-007",
                f"the alias *{event.anchor} names nothing that is complete above it",
                do=f"define &{event.anchor} before this line and outside of itself",
            )
            node = Scalar(line, "", None)
        return self._add(node, None, line=line)

    def _add(self, node: Node, anchor: str | None, *, line: int | None = None) -> bool:
        if anchor:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
            return True
        frame = self._stack[-1]
        frame.size += node.size
        if frame.size > MAX_NODES:
            what = f"the file has more than {MAX_NODES} values once aliases are followed"
            self.report(line or node.line, "SPEC-007", what, do="remove the aliases, or split the file")
            return False
        if not frame.is_block:
            frame.items.append(node)
        elif frame.key is None:
            frame.key = (self._key(node), line or node.line)
        else:
            (key, key_line), frame.key = frame.key, None
            self._put(frame, key, key_line, node)
        return True

    def _put(self, frame: _Frame, key: str | None, line: int, node: Node) -> None:
        if key is None:
            return
        if key in frame.entries:
            first = frame.entries[key][0]
            self.report(
                line,
                "SPEC-005",
                f'the key "{key}" is there twice in one block',
                why=f"the first one is on line {first}; YAML would silently drop one of them",
                do="keep one",
            )
            return
        frame.entries[key] = (line, node)

    def _key(self, node: Node) -> str | None:
        if isinstance(node, Scalar) and node.text == "<<":
            self.report(
                node.line,
                "SPEC-006",
                "merge keys (`<<`) are not used here",
                why="a reviewer must see at each place what it declares",
                do="write the keys out, or use an alias for a whole value",
            )
            return None
        if isinstance(node, Scalar) and node.text:
            return node.text
        self.report(node.line, "SPEC-006", "a key must be text on one line", do="write `key: value`")
        return None

    def _scalar(self, event: Any) -> Scalar:
        line, text = event.start_mark.line + 1, event.value
        if not event.implicit[0]:
            self._refuse_tag(event.tag, line)
            return Scalar(line, text, text)
        return Scalar(line, text, self._meaning(text, line))

    def _meaning(self, text: str, line: int) -> str | int | float | bool | None:
        """Return what a plain scalar means, after the YAML 1.2 core schema."""
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text) and len(text) <= 16:
            return int(text)
        if _LEADING_ZERO.match(text):
            return text
        if _INTEGER.fullmatch(text) or _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
            value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            if math.isfinite(value) and not _INTEGER.fullmatch(text):
                return value
            shown = text if len(text) <= 24 else f"{text[:21]}..."
            self.report(
                line,
                "SPEC-009",
                f"{shown} is not a number that can be used",
                why="numbers are finite and whole ones have at most 15 digits",
                do="write a smaller number, or quote it if it is text",
            )
            return None
        return text

    def _refuse_tag(self, tag: str | None, line: int) -> None:
        if tag is not None:
            self.report(
                line, "SPEC-006", f"the YAML tag {tag[:40]} is not used here", do="remove it; quote text instead"
            )


def _syntax_problem(error: Any, text: str, file: str) -> Problem:
    lines = text.splitlines() or [""]
    opened = "flow" in str(error.context) or "quoted scalar" in str(error.context)
    mark = (error.context_mark if opened else None) or error.problem_mark or error.context_mark
    line = min(mark.line + 1 if mark else 1, len(lines))
    what, do = _explain(f"{error.context or ''} {error.problem or ''}".strip(), lines[line - 1])
    return Problem(f"{file}:{line}", "SPEC-004", what, "the file cannot be read as YAML from here on", do)


def _explain(problem: str, line: str) -> tuple[str, str]:
    """Return what to say about a syntax error, and what to do."""
    if "\t" in line[: len(line) - len(line.lstrip())] or ("cannot start any token" in problem and "\t" in line):
        return "a tab is used for indentation", "use spaces"
    if "cannot start any token" in problem:
        return "a value begins with a character that YAML keeps for itself", "put the value in quotes"
    if "mapping values are not allowed" in problem:
        return "a colon stands where none can", "quote the value, or check the indentation of this line"
    if "expected key" in problem or "block end" in problem or "block mapping" in problem:
        return "this line is indented unlike the block around it", "line it up with its neighbours"
    if "quoted scalar" in problem:
        return "a quote is opened and never closed", "close it on the same line"
    if "',' or" in problem or "flow" in problem:
        return "a bracket, brace or quote that opens here is not closed, or a comma is missing", "close it"
    return f"not YAML: {problem or 'unreadable'}", "check this line and the one before it"
