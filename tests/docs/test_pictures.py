"""The pictures of docs/ show what is printed today, and are small; no browser is needed to see it."""

from __future__ import annotations

import pytest

from tests.docs.pictures import ASSETS, BYTES_MAX, comment_html, pictures, source_in


@pytest.mark.parametrize("name", pictures())
def test_a_picture_is_of_the_page_as_it_is_now(name: str) -> None:
    found = (ASSETS / name).read_bytes()
    assert len(found) <= BYTES_MAX
    assert source_in(found) == pictures()[name].source, f"{name} is out of date: python -m tests.docs.pictures"


def test_another_page_is_another_picture() -> None:
    one, other = (comment_html(text) for text in ("**a** | b", "a"))
    assert "<strong>a</strong>" in one
    assert one != other
    assert source_in(b"\x89PNG\r\n\x1a\n") is None
