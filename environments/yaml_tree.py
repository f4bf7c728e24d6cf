"""A file as a tree that knows its lines, and paths into it.

Pure. `environments.yaml_parse` builds trees; `Lines` travels on to everyone who reports an error about the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PathPart = str | int


@dataclass(frozen=True)
class Scalar:
    """A value as written (`text`) and as meant (`value`: text, number, truth or None)."""

    line: int
    text: str
    value: str | int | float | bool | None
    size: int = 1


@dataclass(frozen=True)
class Items:
    """A list. `size` counts the nodes in it with every alias followed."""

    line: int
    items: tuple[Node, ...]
    size: int


@dataclass(frozen=True)
class Block:
    """A mapping: key → (line of the key, value). `size` counts the nodes in it with every alias followed."""

    line: int
    entries: Mapping[str, tuple[int, Node]]
    size: int


Node = Scalar | Items | Block


@dataclass(frozen=True)
class Lines:
    """Where each path of one file stands. `file` is the name that people see."""

    file: str
    root: Node | None = None

    def where(self, path: str | Sequence[PathPart]) -> str:
        """Return `FILE:LINE` of a path such as `endpoints.chat.rollout.limits[0].name`.

        A path that is not in the file gives the line of the deepest block on the way to it.
        """
        return f"{self.file}:{self.line(split_path(path) if isinstance(path, str) else path)}"

    def line(self, path: Sequence[PathPart]) -> int:
        """Return the line of a path: of the value for a scalar, of the key for a block or list."""
        node, line = self.root, self.root.line if self.root else 1
        for part in path:
            found = child(node, part)
            if found is None:
                break
            line, node = found
        return node.line if isinstance(node, Scalar) else line

    def key_line(self, path: Sequence[PathPart]) -> int:
        """Return the line of the key that ends a path."""
        parent = self.node(path[:-1])
        found = child(parent, path[-1]) if path else None
        return found[0] if found else self.line(path)

    def node(self, path: Sequence[PathPart]) -> Node | None:
        """Return what stands at a path, None when nothing does."""
        node = self.root
        for part in path:
            found = child(node, part)
            if found is None:
                return None
            node = found[1]
        return node


def child(node: Node | None, part: PathPart) -> tuple[int, Node] | None:
    """Return the line and the value of one key or index of a node."""
    match node:
        case Block(entries=entries):
            return entries.get(str(part))
        case Items(items=items) if isinstance(part, int) and 0 <= part < len(items):
            return items[part].line, items[part]
    return None


def plain(node: Node) -> Any:
    """Return the node as dicts, lists and scalars."""
    match node:
        case Block(entries=entries):
            return {key: plain(value) for key, (_, value) in entries.items()}
        case Items(items=items):
            return [plain(item) for item in items]
        case Scalar(value=value):
            return value


def split_path(path: str) -> tuple[PathPart, ...]:
    """Return the parts of a dotted path; `a.b[2].c` and `a.b.2.c` are the same."""
    parts = path.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts if part)


def join_path(path: Sequence[PathPart]) -> str:
    """Return the dotted path that people read."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
