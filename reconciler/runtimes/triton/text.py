"""Reads and writes protobuf's text format, in which Triton's `config.pbtxt` is. Pure.

Not by protobuf: the messages that `tritonclient` brings want another version of it than Pulumi's packages allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

_TOKEN = re.compile(
    r"""(?P<skip>[\s]+|\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>-?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?))
    |(?P<word>-?[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_UNSAFE = re.compile(r'[\x00-\x1f\x7f"\\]')
_CLOSES = {"{": "}", "<": ">"}
_DEPTH_MAX = 50


@dataclass(frozen=True)
class Word:
    """A bare word: the name of an enum's value, `true` or `false`."""

    name: str


Value: TypeAlias = "str | int | float | Word | Message"


@dataclass(frozen=True)
class Message:
    """Fields in their order; one that repeats stands there as often as it has values."""

    fields: tuple[tuple[str, Value], ...] = ()

    def all(self, name: str) -> tuple[Value, ...]:
        """Return every value of a field."""
        return tuple(value for field, value in self.fields if field == name)

    def last(self, name: str) -> Value | None:
        """Return a field's value, the last where there are several as protobuf has it; None when it is not set."""
        return next(iter(reversed(self.all(name))), None)

    def but(self, *names: str) -> Message:
        """Return the message without these fields."""
        return Message(tuple((field, value) for field, value in self.fields if field not in names))

    def plus(self, *fields: tuple[str, Value]) -> Message:
        """Return the message with more fields at its end."""
        return Message((*self.fields, *fields))


def parse_text(text: str) -> Message:
    """Return the message that a text says.

    Raises:
        ValueError: it is not of the format; the message names the line.
    """
    tokens = _Tokens(text)
    return _message(tokens, None, 0)


def write_text(message: Message, depth: int = 0) -> str:
    """Return the text of a message, a field a line; the same message always gives the same text."""
    return "".join(_line(name, value, "  " * depth, depth) for name, value in message.fields)


class _Tokens:
    """The words of a text with one to look ahead."""

    def __init__(self, text: str) -> None:
        self._found = list(_tokens(text))
        self._next = 0

    @property
    def line(self) -> int:
        return self._found[min(self._next, len(self._found) - 1)][2]

    def peek(self) -> str:
        return self._found[self._next][1]

    def kind(self) -> str:
        return self._found[self._next][0]

    def take(self) -> str:
        found = self.peek()
        self._next += 1
        return found

    def skip(self, *marks: str) -> bool:
        if self.kind() == "mark" and self.peek() in marks:
            self._next += 1
            return True
        return False

    def wrong(self, wanted: str) -> ValueError:
        found = self.peek() or "the end"
        return ValueError(f"line {self.line}: {wanted} has to stand where {found[:40]} stands")


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"line {line}: {text[position:].splitlines()[0][:40]!r} cannot be read")
        kind = str(match.lastgroup)
        if kind != "skip":
            yield kind, match.group(), line
        line += match.group().count("\n")
        position = match.end()
    yield "end", "", line


def _message(tokens: _Tokens, close: str | None, depth: int) -> Message:
    if depth > _DEPTH_MAX:
        raise ValueError(f"line {tokens.line}: messages are nested more than {_DEPTH_MAX} deep")
    fields: list[tuple[str, Value]] = []
    while not (tokens.kind() == "end" if close is None else tokens.skip(close)):
        if tokens.kind() != "word":
            raise tokens.wrong("a field's name" if close is None else f"a field's name or {close}")
        name = tokens.take()
        colon = tokens.skip(":")
        fields += [(name, value) for value in _values(tokens, depth, colon=colon)]
        tokens.skip(",", ";")
    return Message(tuple(fields))


def _values(tokens: _Tokens, depth: int, *, colon: bool) -> Iterator[Value]:
    if not tokens.skip("["):
        yield _value(tokens, depth, colon=colon)
        return
    while not tokens.skip("]"):
        yield _value(tokens, depth, colon=colon)
        if not tokens.skip(",") and tokens.peek() != "]":
            raise tokens.wrong(", or ]")


def _value(tokens: _Tokens, depth: int, *, colon: bool) -> Value:
    if tokens.kind() == "mark" and tokens.peek() in _CLOSES:
        return _message(tokens, _CLOSES[tokens.take()], depth + 1)
    if not colon:
        raise tokens.wrong(": or {")
    match tokens.kind():
        case "text":
            return _joined(tokens)
        case "number":
            return _number(tokens.take())
        case "word":
            return Word(tokens.take())
        case _:
            raise tokens.wrong("a value")


def _joined(tokens: _Tokens) -> str:
    """Return texts that stand side by side as the one that they are."""
    found = ""
    while tokens.kind() == "text":
        found += tokens.take()[1:-1]
    line = tokens.line
    try:
        return _ESCAPE.sub(_unescaped, found.encode()).decode()
    except ValueError as error:
        raise ValueError(f"line {line}: a text is not UTF-8: {error}") from error


def _unescaped(match: re.Match[bytes]) -> bytes:
    """Return the bytes of one escape; numbers are bytes of UTF-8, not characters."""
    code = match.group(1)
    if code[:1] == b"x" and len(code) > 1:
        return bytes([int(code[1:], 16)])
    return bytes([int(code, 8) & 0xFF]) if code[0] in b"01234567" else _ESCAPES.get(code, code)


def _number(text: str) -> int | float:
    if text.lstrip("-").lower().startswith("0x"):
        return int(text, 16)
    digits = text.lstrip("-")
    if digits.isdigit():
        return int(text, 8 if len(digits) > 1 and digits[0] == "0" else 10)
    return float(text.rstrip("fF"))


def _line(name: str, value: Value, indent: str, depth: int) -> str:
    match value:
        case Message():
            return f"{indent}{name} {{\n{write_text(value, depth + 1)}{indent}}}\n"
        case Word():
            return f"{indent}{name}: {value.name}\n"
        case str():
            return f"{indent}{name}: {_quoted(value)}\n"
        case _:
            return f"{indent}{name}: {value!r}\n"


def _quoted(text: str) -> str:
    return '"' + _UNSAFE.sub(lambda match: f"\\{ord(match.group()):03o}", text) + '"'
