"""The reader of the Prometheus text format: what it takes, what it refuses, and that nothing gets lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.runtimes.exposition import Sample, cumulative_buckets, parse_exposition, total

VALUES = st.floats(allow_nan=False)
NAMES = st.from_regex(r"[a-z_:][a-z0-9_:]{0,10}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from('\\"{},=# \n'), max_size=12)
LABELS = st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True), TEXTS, max_size=4)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def written(sample: Sample) -> str:
    labels = ",".join(f'{name}="{escaped(text)}"' for name, text in sample.labels.items())
    return f"{sample.name}{{{labels}}} {sample.value!r}"


@given(st.lists(st.builds(Sample, NAMES, LABELS, VALUES), max_size=6))
def test_reads_back_what_was_written(samples: list[Sample]) -> None:
    text = "# HELP x y\n# TYPE x counter\n\n" + "\n".join(map(written, samples)) + "\n"
    assert parse_exposition(text) == tuple(samples)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("up 1", Sample("up", {}, 1.0)),
        ("up{} 1", Sample("up", {}, 1.0)),
        ("up 1 1700000000000", Sample("up", {}, 1.0)),
        ('up{a="b", } 1e3', Sample("up", {"a": "b"}, 1000.0)),
        ('b_bucket{le="+Inf"} 2 # {trace="x"} 0.5', Sample("b_bucket", {"le": "+Inf"}, 2.0)),
        ('up{a="}"} +Inf', Sample("up", {"a": "}"}, float("inf"))),
    ],
)
def test_reads_every_form(line: str, expected: Sample) -> None:
    assert parse_exposition(line) == (expected,)


@pytest.mark.parametrize("line", ["up", "up one", 'up{a="b} 1', "up{a=b} 1", '{a="b"} 1', "<html>", 'up{a="b"'])
def test_refuses_what_is_not_the_format_and_says_where(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse_exposition(f"ok 1\n{line}\n")


def test_sums_over_engines_and_orders_buckets() -> None:
    text = "\n".join(
        f't_bucket{{engine="{engine}",le="{bound}"}} {count}'
        for engine in (0, 1)
        for bound, count in (("+Inf", 5), ("10.0", 4), ("0.5", 2))
    )
    samples = parse_exposition(text)
    assert list(cumulative_buckets(samples, "t").items()) == [("0.5", 4.0), ("10.0", 8.0), ("+Inf", 10.0)]
    assert cumulative_buckets(samples, "other") == {}
    assert total(parse_exposition('a{e="0"} 1\na{e="1"} 2'), "a") == 3.0
    assert total(samples, "absent") is None
