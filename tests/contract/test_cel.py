"""The port to CEL: one behaviour over both engines, and nothing but a true BOOL ever counts as true."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from policies import cel
from policies.cel import CelError, holds, plain, says, value_of

ENDPOINT: dict[str, Any] = {
    "team": "payments",
    "rollout": {"bake_s": 900.0, "steps_pct": [1.0, 10.0, 50.0]},
    "slo": {},
    "nothing": None,
    "ratio": 1.5,
    "release": {"adapters": {"acme": "mlflow:chat-acme/3"}},
}
DATA = {"endpoint": plain(ENDPOINT), "now": datetime(2026, 11, 30, 0, 30, tzinfo=UTC), "variables": {"n": 2}}

TRUE = (
    "endpoint.team == 'payments'",
    "endpoint.rollout.bake_s == 900",
    "endpoint.rollout.bake_s == 900.0",
    "endpoint.rollout.bake_s < 900.5",
    "endpoint.ratio > 1",
    "1 < endpoint.ratio",
    "endpoint.ratio != 2",
    "endpoint.rollout.steps_pct.all(s, s <= 50)",
    "endpoint.rollout.steps_pct.exists(s, s == 10)",
    "size(endpoint.rollout.steps_pct) == 3",
    "endpoint.rollout.steps_pct[0] == 1",
    "!has(endpoint.slo.error_rate)",
    "has(endpoint.rollout.bake_s) && endpoint.rollout.bake_s >= 600",
    "endpoint.nothing == null",
    "endpoint.release.adapters.all(k, endpoint.release.adapters[k].startsWith('mlflow:'))",
    "'acme' in endpoint.release.adapters",
    "endpoint.team.matches('^pay')",
    "endpoint.team in ['payments', 'search']",
    "now.getDayOfWeek('Europe/Berlin') == 1",
    "now.getHours('Europe/Berlin') == 1",
    "now < timestamp('2027-01-01T00:00:00Z')",
    "now - timestamp('2026-11-29T00:30:00Z') >= duration('24h')",
    "1 / 0 > 1 || true",
    "endpoint.missing == 1 || endpoint.team == 'payments'",
    "endpoint.team == 'search' ? false : true",
    "variables.n + 1 == 3",
    "endpoint.rollout.steps_pct.filter(s, s > 1).size() == 2",
)
FALSE = (
    "endpoint.team == 'search'",
    "endpoint.rollout.bake_s >= 3600",
    "endpoint.rollout.bake_s != 900.0",
    "endpoint.ratio < 1",
    "has(endpoint.slo.error_rate)",
    "false && 1 / 0 > 1",
    "endpoint.rollout.steps_pct.exists(s, s == 2.5)",
)
BROKEN = (
    "endpoint.missing == 1",
    "endpoint.slo.error_rate < 0.1",
    "1 / 0 > 1",
    "nope == 1",
    "endpoint.rollout.bake_s >",
    "",
    "((((",
    "endpoint.?slo",
    "endpoint.team > 3",
    "endpoint.rollout.steps_pct[9] == 1",
    "now.getDayOfWeek('No/Where') == 1",
    "facts.releases == {}",
    "unknown_function(1)",
    "endpoint.team.matches('(')",
)
NOT_BOOLEAN = (
    "endpoint.team",
    "'true'",
    "1",
    "endpoint",
    "endpoint.rollout.steps_pct",
    "null",
    "endpoint.nothing",
    "endpoint.ratio",
    "now",
)


@pytest.fixture(params=cel.ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Have one engine alone answer."""
    monkeypatch.setattr(cel, "ENGINES", (request.param,))
    cel.compiled.cache_clear()
    yield request.param
    cel.compiled.cache_clear()


@pytest.mark.parametrize("expression", TRUE)
def test_what_is_true_holds(engine: str, expression: str) -> None:
    assert holds(expression, DATA) is True


@pytest.mark.parametrize("expression", FALSE)
def test_what_is_false_does_not(engine: str, expression: str) -> None:
    assert holds(expression, DATA) is False


@pytest.mark.parametrize("expression", BROKEN)
def test_an_error_is_neither_true_nor_false(engine: str, expression: str) -> None:
    with pytest.raises(CelError) as caught:
        holds(expression, DATA)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("expression", NOT_BOOLEAN)
def test_only_true_and_false_count(engine: str, expression: str) -> None:
    with pytest.raises(CelError, match="has to be true or false"):
        holds(expression, DATA)


def test_messages_are_texts(engine: str) -> None:
    assert says("'bake_s is ' + string(endpoint.rollout.bake_s)", DATA) == "bake_s is 900"
    for expression in ("1", "null", "true", "endpoint.missing", "'a' + 1"):
        with pytest.raises(CelError):
            says(expression, DATA)


def test_values_are_plain(engine: str) -> None:
    found = value_of("endpoint.rollout.steps_pct.filter(s, s > 1)", DATA)
    assert found == [10, 50]
    assert [type(each) for each in found] == [int, int]
    assert value_of("{'a': endpoint.ratio, 'b': true}", DATA) == {"a": 1.5, "b": True}
    assert type(value_of("endpoint.ratio > 1", DATA)) is bool
    with pytest.raises(CelError):
        value_of("endpoint.missing", DATA)


def test_a_time_that_nobody_gave_is_an_error(engine: str) -> None:
    with pytest.raises(CelError):
        holds("now < timestamp('2027-01-01T00:00:00Z')", {"endpoint": {}})


def test_without_an_engine_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    really = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in ("cel_expr_python", "celpy"):
            raise ImportError(name)
        return really(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    cel._first_of.cache_clear()
    cel.compiled.cache_clear()
    try:
        with pytest.raises(CelError, match=r"pip install 'sluice\[cel\]'"):
            holds("true", {})
    finally:
        monkeypatch.undo()
        cel._first_of.cache_clear()
        cel.compiled.cache_clear()
    assert holds("true", {})
