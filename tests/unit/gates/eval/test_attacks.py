"""What a hostile suite or a hostile answer may try with scorers: fetch documents, or hold the whole process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError, SpecError
from reconciler.gates.eval import patterns
from reconciler.gates.eval.judge_model import _read
from reconciler.gates.eval.scorers import SCORE, score_json_schema, score_regex
from reconciler.gates.eval.suite import JsonSchema, Regex
from reconciler.gates.eval.suite_file import parse_suite
from tests.support.servers.http_stub import Answer, Asked, http_stub

BASE = (Path(__file__).parent / "base.yaml").read_text()
JSON = JsonSchema(kind="json_schema")
EVIL = "^(a|aa)+$"
HOPELESS = "a" * 60 + "!"


def test_a_schema_reference_to_a_server_is_never_fetched() -> None:
    asked: list[str] = []

    def answer(request: Asked) -> Answer:
        asked.append(request.path)
        return 200, {"type": "object", "required": ["secret"]}

    with http_stub(answer) as url, pytest.raises(SluiceError) as caught:
        score_json_schema(JSON, {"$ref": f"{url}/schema.json"}, '{"a": 1}')
    assert asked == []
    assert caught.value.code == "EVAL-007"


def test_a_schema_reference_to_a_file_is_never_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"const": "a-secret-of-this-machine"}')
    with pytest.raises(SluiceError) as caught:
        score_json_schema(JSON, {"properties": {"a": {"$ref": secret.as_uri()}}}, '{"a": 1}')
    assert caught.value.code == "EVAL-007"
    assert "a-secret-of-this-machine" not in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        '{"$ref": "http://127.0.0.1:1/schema.json"}',
        '{"$ref": "file:///etc/passwd"}',
        '{properties: {a: {items: {"$ref": "other.json#/$defs/x"}}}}',
        '{"$dynamicRef": "https://example.com/x"}',
        '{allOf: [{"$ref": "#/$defs/missing"}], "$defs": {there: {type: string}}}',
    ],
)
def test_a_schema_that_needs_another_document_is_refused_before_a_plan(schema: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_suite(BASE.replace("{type: object}", schema, 1), "base.yaml")
    assert [problem.code for problem in caught.value.problems] == ["EVAL-007"]
    assert "refers to" in caught.value.problem.what


def test_a_schema_whose_names_cannot_be_searched_in_bounded_time_is_refused() -> None:
    schema = "{patternProperties: {x: {}}, unevaluatedProperties: false}"
    with pytest.raises(SpecError, match="bounded time"):
        parse_suite(BASE.replace("{type: object}", schema, 1), "base.yaml")


@pytest.mark.parametrize(
    ("schema", "answer", "passed"),
    [
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "number"}}}, "1", True),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "number"}}}, '"1"', False),
        ({"$id": "http://x.test/", "$ref": "b", "$defs": {"b": {"$id": "b", "type": "number"}}}, "1", True),
        ({"properties": {"$ref": {"const": "http://x.test/"}}}, '{"$ref": "http://x.test/"}', True),
        ({"properties": {"a": {}}, "patternProperties": {"^x": {}}, "additionalProperties": False}, '{"a": 1}', True),
        ({"properties": {"a": {}}, "patternProperties": {"^x": {}}, "additionalProperties": False}, '{"xy": 1}', True),
        ({"properties": {"a": {}}, "patternProperties": {"^x": {}}, "additionalProperties": False}, '{"b": 1}', False),
        ({"patternProperties": {"^x": {"type": "number"}}}, '{"x": "1"}', False),
        ({"additionalProperties": {"type": "number"}}, '{"x": "1"}', False),
        ({"type": "string", "pattern": "^a"}, '"ba"', False),
        ({"const": {"$ref": "http://x.test/"}}, '{"$ref": "http://x.test/"}', True),
    ],
)
def test_what_the_schema_itself_says_works(schema: Any, answer: str, passed: bool) -> None:
    assert score_json_schema(JSON, schema, answer).passed is passed


SCHEMAS: dict[str, Any] = {
    "pattern": {"type": "string", "pattern": EVIL},
    "names": {"patternProperties": {EVIL: {}}},
    "other names": {"patternProperties": {EVIL: {}}, "additionalProperties": False},
}


@pytest.mark.parametrize("scorer", ["regex", *SCHEMAS])
def test_a_catastrophic_pattern_ends_and_lets_the_process_go_on(scorer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern that backtracks for ages is an error in time, and other threads run while it is tried."""
    monkeypatch.setattr(patterns, "SEARCH_S", 0.5)
    going, turns = threading.Event(), 0
    ended: list[str] = []

    def tried() -> None:
        try:
            if scorer == "regex":
                score_regex(Regex(kind="regex", pattern=EVIL), None, HOPELESS)
            else:
                answer = f'"{HOPELESS}"' if scorer == "pattern" else f'{{"{HOPELESS}": 1}}'
                score_json_schema(JSON, SCHEMAS[scorer], answer)
        except SluiceError as error:
            ended.append(error.code)
        going.set()

    thread = threading.Thread(target=tried, daemon=True)
    thread.start()
    while not going.wait(0.01):
        turns += 1
    thread.join()
    assert ended == ["EVAL-028"]
    assert turns > 10


@pytest.mark.parametrize("answer", ["```" + "\n" * 200_000, "{" * 200_000, "```json\n" + " " * 200_000 + "x"])
def test_an_answer_cannot_hold_the_process_either(answer: str) -> None:
    """What once took minutes: fences and braces are looked for once, not once for each place."""
    assert not SCORE["json_schema"](JSON, {"type": "object"}, answer).passed
    with pytest.raises(ValueError, match="good"):
        _read(answer)
