"""Protobuf's text format: everything that a `config.pbtxt` may hold is read, and written so that it is read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.runtimes.triton.text import Message, Value, Word, parse_text, write_text

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
LEAVES: st.SearchStrategy[Value] = st.one_of(
    TEXTS, st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False), NAMES.map(Word)
)


def messages(values: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    return st.lists(st.tuples(NAMES, values), max_size=4).map(lambda fields: Message(tuple(fields)))


@given(messages(st.recursive(LEAVES, messages, max_leaves=8)))
def test_what_is_written_is_read_as_it_was(value: Value) -> None:
    assert isinstance(value, Message)
    assert parse_text(write_text(value)) == value


def test_reads_what_people_write() -> None:
    text = """
    # a comment
    name: "chat"; max_batch_size: 0x10
    input [ { name: 'A' dims: [ -1, 2 ] }, { name: "B", dims: 3 } ]
    output { name: "C" "D" }
    version_policy: { specific: < versions: [1] > }
    scale: -1.5e3f
    kind: KIND_CPU
    quoted: "a\\n\\x41\\102\\"\\'"
    none: []
    """
    message = parse_text(text)
    assert message.last("name") == "chat"
    assert message.last("max_batch_size") == 16
    assert [each.all("dims") for each in message.all("input") if isinstance(each, Message)] == [(-1, 2), (3,)]
    assert message.last("output") == Message((("name", "CD"),))
    assert message.last("scale") == -1500.0
    assert message.last("kind") == Word("KIND_CPU")
    assert message.last("quoted") == "a\nAB\"'"
    assert message.all("none") == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name 3", 1),
        ('name: "x"\n}', 2),
        ("input {\n name: 'x'\n", 3),
        ("dims: [1 2]", 1),
        ("name: \n", 2),
        ('\n\nname: "open\n', 3),
        ("a: @", 1),
        (": 3", 1),
    ],
)
def test_what_is_no_message_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ValueError, match=f"line {line}:"):
        parse_text(text)


def test_nesting_has_an_end() -> None:
    with pytest.raises(ValueError, match="nested"):
        parse_text("a { " * 60 + "} " * 60)


def test_the_last_of_several_values_holds() -> None:
    message = parse_text("a: 1 b: 2 a: 3")
    assert message.last("a") == 3
    assert message.but("a") == Message((("b", 2),))
    assert message.last("c") is None
