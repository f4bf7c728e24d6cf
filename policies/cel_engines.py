"""The two engines behind `policies.cel`: Google's CEL in C++, and a pure one where that has no wheel.

Each is imported when it is first asked for. `tests/contract/test_cel.py` holds them to one behaviour.
Sources: cel-expr-python 0.1.3 (cel.pyi, README); cel-python 0.5.0 (celpy/__init__.py, evaluation.py).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from policies.cel import NAMES, Answer, Engine, Program

_COMPARED = {
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
    "_==_": operator.eq,
    "_!=_": operator.ne,
}


class GoogleEngine:
    """cel-expr-python: compiles to a checked program; errors come back as values of the type ERROR."""

    def __init__(self) -> None:
        from cel_expr_python import cel

        types = dict.fromkeys(NAMES, cel.Type.DYN) | {"now": cel.Type.TIMESTAMP}
        self._env = cel.NewEnv(variables=types)

    def compile(self, expression: str) -> Program:
        """Return the program; what is not declared or of the wrong type is refused here."""
        return _GoogleProgram(self._env.compile(expression))


class _GoogleProgram:
    def __init__(self, expression: Any) -> None:
        self._expression = expression

    def ask(self, data: Mapping[str, Any]) -> Answer:
        found = self._expression.eval(data=dict(data))
        name = str(found.type().name()).partition("<")[0]
        return Answer(name, found.value() if name == "ERROR" else found.plain_value())


class PureEngine:
    """cel-python: raises where something is wrong, most of it when it is asked."""

    def __init__(self) -> None:
        import celpy

        self._celpy = celpy
        self._env = celpy.Environment()
        self._functions = {name: _across(celpy, name) for name in _COMPARED}

    def compile(self, expression: str) -> Program:
        """Return the program; a name that is not declared is found when it is asked."""
        ast = self._env.compile(expression)
        return _PureProgram(self._celpy, self._env.program(ast, functions=self._functions))


class _PureProgram:
    def __init__(self, celpy: Any, runner: Any) -> None:
        self._celpy, self._runner = celpy, runner

    def ask(self, data: Mapping[str, Any]) -> Answer:
        found = self._runner.evaluate({name: _typed(self._celpy, value) for name, value in data.items()})
        return Answer(_type_of(self._celpy.celtypes, found), _untyped(self._celpy.celtypes, found))


def _across(celpy: Any, name: str) -> Callable[[Any, Any], Any]:
    """Return a comparison that also takes an int and a double, as CEL's definition has it and cel-python does not."""
    usual, compare = celpy.evaluation.base_functions[name], _COMPARED[name]
    numbers = (celpy.celtypes.IntType, celpy.celtypes.UintType, celpy.celtypes.DoubleType)

    def compared(left: Any, right: Any) -> Any:
        if isinstance(left, numbers) and isinstance(right, numbers) and type(left) is not type(right):
            plain = [float(n) if isinstance(n, celpy.celtypes.DoubleType) else int(n) for n in (left, right)]
            return celpy.celtypes.BoolType(compare(*plain))
        return usual(left, right)

    return compared


def _typed(celpy: Any, value: Any) -> Any:
    if isinstance(value, datetime):
        return celpy.celtypes.TimestampType(value)
    if isinstance(value, Mapping):
        text = celpy.celtypes.StringType
        return celpy.celtypes.MapType({text(key): _typed(celpy, inner) for key, inner in value.items()})
    if isinstance(value, list):
        return celpy.celtypes.ListType([_typed(celpy, inner) for inner in value])
    return celpy.json_to_cel(value)


def _type_of(celtypes: Any, value: Any) -> str:
    kinds = {
        celtypes.BoolType: "BOOL",
        celtypes.IntType: "INT",
        celtypes.UintType: "UINT",
        celtypes.DoubleType: "DOUBLE",
        celtypes.MapType: "MAP",
        celtypes.ListType: "LIST",
        celtypes.TimestampType: "TIMESTAMP",
        celtypes.DurationType: "DURATION",
        str: "STRING",
        type(None): "NULL",
        Exception: "ERROR",
    }
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), type(value).__name__.upper())


def _untyped(celtypes: Any, value: Any) -> Any:
    """Return a value of cel-python's as the plain one that it stands for."""
    match value:
        case celtypes.BoolType():
            return bool(value)
        case celtypes.DoubleType():
            return float(value)
        case celtypes.MapType():
            return {str(key): _untyped(celtypes, inner) for key, inner in value.items()}
        case celtypes.ListType():
            return [_untyped(celtypes, inner) for inner in value]
        case celtypes.TimestampType() | None:
            return value
        case int():
            return int(value)
        case str():
            return str(value)
        case _:
            return value


BUILDERS: Mapping[str, Callable[[], Engine]] = MappingProxyType({"google": GoogleEngine, "pure": PureEngine})
"""Name → what makes the engine; an ImportError says that it is not installed."""
