"""HTTP and event parsing give the same answer however the network cuts the bytes; targets stay in the allow-list."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.errors import SluiceError
from loadtests.connection import wire_of
from loadtests.events import EventCounter
from loadtests.http1 import ChunkedBody, CountedBody, body_of, parse_head
from loadtests.target import checked_target


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def chunked(parts: list[bytes], trailer: bytes = b"") -> bytes:
    return b"".join(b"%x;x=1\r\n%s\r\n" % (len(p), p) for p in parts if p) + b"0\r\n" + trailer + b"\r\n"


@given(parts=st.lists(st.binary(max_size=40)), places=st.lists(st.integers(0, 999)), trailer=st.booleans())
def test_chunked_bodies_survive_any_cut(parts: list[bytes], places: list[int], trailer: bool) -> None:
    body = ChunkedBody()
    raw = chunked(parts, b"X-T: 1\r\n" if trailer else b"")
    payload = b"".join(body.feed(piece) for piece in cut(raw, places))
    assert payload == b"".join(parts)
    assert body.done


def test_bodies_by_head() -> None:
    counted = CountedBody(3)
    assert counted.feed(b"ab") == b"ab"
    assert not counted.done
    assert counted.feed(b"cde") == b"c"
    assert counted.done
    assert body_of(parse_head(b"HTTP/1.1 204 No Content")).done
    assert not body_of(parse_head(b"HTTP/1.1 200 OK\r\nConnection: close")).done
    assert isinstance(body_of(parse_head(b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked")), ChunkedBody)


@pytest.mark.parametrize("raw", [b"SSH-2.0-x", b"HTTP/1.1 abc", b"", b"HTTP/2 200"])
def test_what_is_not_http_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not an HTTP"):
        parse_head(raw)


@pytest.mark.parametrize("raw", [b"zz\r\nx", b"-4\r\nx", b"fffffffffff\r\n"])
def test_broken_chunks_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"invalid literal|a chunk of"):
        ChunkedBody().feed(raw)


def event(value: object, *, spaced: bool = False) -> str:
    text = json.dumps(value) if spaced else json.dumps(value, separators=(",", ":"))
    return f"data: {text}\n\n"


def delta(**fields: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


texts = st.text(min_size=1, max_size=12) | st.sampled_from(
    ['"content":"x', "data: [DONE]", "\n\n", '{"error":1}', "\\"]
)


@given(words=st.lists(texts, min_size=1, max_size=8), places=st.lists(st.integers(0, 5000)), spaced=st.booleans())
def test_tokens_are_counted_whatever_they_say_and_however_they_are_cut(
    words: list[str], places: list[int], spaced: bool
) -> None:
    stream = event(delta(role="assistant", content=""), spaced=spaced)
    stream += "".join(event(delta(content=word), spaced=spaced) for word in words)
    stream += event(delta(content=""), spaced=spaced)
    stream += event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 41}}, spaced=spaced)
    stream += "data: [DONE]\n\n"
    counter = EventCounter()
    assert sum(counter.feed(piece) for piece in cut(stream.encode(), places)) == len(words)
    assert counter.done
    assert counter.error is None
    assert (counter.usage_in, counter.usage_out) == (7, 41)


def test_other_shapes_of_tokens() -> None:
    counter = EventCounter()
    stream = event({"choices": [{"index": 0, "text": " hi"}]}) + event(delta(reasoning_content="hm"))
    stream += event(delta(tool_calls=[{"function": {"arguments": "{"}}]))
    assert counter.feed(stream.encode()) == 3
    assert counter.feed(stream.replace("\n", "\r\n").encode()) == 3
    assert not counter.done


@pytest.mark.parametrize("value", [{"error": {"message": "died"}}, {"object": "error", "message": "died"}])
def test_an_error_event_is_kept(value: object) -> None:
    counter = EventCounter()
    assert counter.feed((event(delta(content="a")) + event(value)).encode()) == 1
    assert counter.error is not None
    assert "died" in counter.error


def test_a_target_must_be_named_by_the_environment() -> None:
    allowed = ["http://127.0.0.1:8000/chat", "https://models.example"]
    target = checked_target("http://127.0.0.1:8000/chat/v1/", allowed=allowed, model="m", name="champion", slot="a")
    assert (target.origin, target.prefix) == ("http://127.0.0.1:8000", "/chat")
    assert checked_target("https://models.example:443", allowed=allowed, model="m", name="x").port == 443
    wire = wire_of(target, "/v1/completions", b"{}", "r1")
    assert wire.startswith(b"POST /chat/v1/completions HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    assert b"\r\nX-Sluice-Slot: a\r\n" in wire
    assert wire.endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:8001", "LOAD-011"),
        ("https://127.0.0.1:8000", "LOAD-011"),
        ("http://127.0.0.1.evil.example:8000", "LOAD-011"),
        ("ftp://127.0.0.1:8000", "LOAD-010"),
        ("127.0.0.1:8000", "LOAD-010"),
        ("http://", "LOAD-010"),
        ("http://127.0.0.1:99999", "LOAD-010"),
        ("http://user:secret@127.0.0.1:8000", "LOAD-010"),
        ("http://127.0.0.1:8000/x?y=1", "LOAD-010"),
        ("http://127.0.0.1:8000/x HTTP/1.1", "LOAD-010"),
    ],
)
def test_other_addresses_are_refused(url: str, code: str) -> None:
    with pytest.raises(SluiceError) as caught:
        checked_target(url, allowed=["http://127.0.0.1:8000"], model="m", name="champion")
    assert caught.value.code == code
    assert "secret" not in str(caught.value)


def test_a_key_shows_up_in_the_request_and_nowhere_else() -> None:
    target = checked_target("http://h", allowed=["http://h"], model="m", name="x", api_key="hush")
    assert "hush" not in repr(target)
    assert b"Authorization: Bearer hush" in wire_of(target, "/v1/completions", b"", "r")
