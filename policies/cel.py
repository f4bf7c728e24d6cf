"""The port to CEL: compile an expression, ask it about plain data, and believe only what has the right type.

Two engines serve it (`policies.cel_engines`); neither is imported before the first expression. An answer that is an
error, of another type, or not there at all is a `CelError`, and never taken for true or for false.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, Protocol

NAMES = ("plan", "environment", "endpoint", "name", "address", "release", "facts", "now", "variables")
"""What an expression may speak of; docs/how-to/own-policy.md says what each is."""
ENGINES = ("google", "pure")
EXTRA = "cel"


class CelError(Exception):
    """An expression that cannot be compiled or has no answer, in one line for people."""


@dataclass(frozen=True)
class Answer:
    """What an engine answered: the name of its CEL type in capitals (`BOOL`, `STRING`, `ERROR`) and a plain value."""

    type: str
    value: Any


class Program(Protocol):
    """A compiled expression."""

    def ask(self, data: Mapping[str, Any]) -> Answer:
        """Return the answer to plain data: dicts, lists, texts, numbers, booleans, None and times with a zone.

        Raises:
            Exception: whatever the engine raises; `holds` and `says` turn it into a `CelError`.
        """
        ...


class Engine(Protocol):
    """Compiles expressions over `NAMES`."""

    def compile(self, expression: str) -> Program:
        """Return the program; an engine may also find a mistake only when it is asked.

        Raises:
            Exception: whatever the engine raises about a malformed expression.
        """
        ...


def holds(expression: str, data: Mapping[str, Any]) -> bool:
    """Return whether an expression is true.

    Raises:
        CelError: it is malformed, has an error for an answer, or answers with anything but true and false.
    """
    answer = _answered(expression, data)
    if answer.type != "BOOL" or not isinstance(answer.value, bool):
        raise CelError(f"`{_short(expression)}` is {answer.type.lower()}, and has to be true or false")
    return answer.value is True


def says(expression: str, data: Mapping[str, Any]) -> str:
    """Return the text that an expression makes.

    Raises:
        CelError: as `holds`, or it is no text.
    """
    answer = _answered(expression, data)
    if answer.type != "STRING" or not isinstance(answer.value, str):
        raise CelError(f"`{_short(expression)}` is {answer.type.lower()}, and has to be a text")
    return answer.value


def value_of(expression: str, data: Mapping[str, Any]) -> Any:
    """Return the plain value of an expression, for a variable.

    Raises:
        CelError: it is malformed, or has an error for an answer.
    """
    return _answered(expression, data).value


def plain(value: Any) -> Any:
    """Return JSON-like data as expressions see it: a whole number is an int, however it was written."""
    match value:
        case bool() | None | str() | datetime():
            return value
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case _:
            return value


def _answered(expression: str, data: Mapping[str, Any]) -> Answer:
    try:
        answer = compiled(expression).ask(data)
    except CelError:
        raise
    except Exception as error:
        raise CelError(f"`{_short(expression)}`: {_line(error)}") from error
    if answer.type == "ERROR":
        raise CelError(f"`{_short(expression)}`: {_line(answer.value)}")
    return answer


@lru_cache(maxsize=500)
def compiled(expression: str) -> Program:
    """Return an expression's program, compiled once."""
    return engine().compile(expression)


def engine() -> Engine:
    """Return the engine of this installation, Google's where it is there.

    Raises:
        CelError: neither is installed.
    """
    return _first_of(ENGINES)


@cache
def _first_of(names: tuple[str, ...]) -> Engine:
    builders: Mapping[str, Callable[[], Engine]] = import_module("policies.cel_engines").BUILDERS
    for name in names:
        try:
            return builders[name]()
        except ImportError:
            continue
    raise CelError(f"no CEL engine is installed: pip install 'sluice[{EXTRA}]'")


def _short(expression: str) -> str:
    return expression if len(expression) <= 80 else f"{expression[:77]}..."


def _line(error: object) -> str:
    words = error.args[0] if isinstance(error, Exception) and error.args else error
    return " ".join(str(words).split())[:200]
