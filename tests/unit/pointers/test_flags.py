"""A split and its flag say the same, whatever the shares."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.pointers.flags import document, flag_key, flag_of, integer_weights, parse_document, split_of
from reconciler.ports import PromptSplit

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
_SHARE = st.integers(0, 10**8).map(lambda n: n / 10**6)
_NAME = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)


@UNTIMED
@given(_SHARE)
def test_weights_are_whole_and_exact(share: float) -> None:
    challenger, champion = integer_weights([share, 100 - share])
    total = challenger + champion
    assert challenger >= 0
    assert champion >= 0
    assert total <= 2**31 - 1
    assert abs(challenger * 100 / total - share) < 1e-6


@UNTIMED
@given(st.tuples(_SHARE, _SHARE).map(sorted))
def test_a_larger_share_holds_the_smaller_one(shares: list[float]) -> None:
    """Buckets are the first `weight` of `total` parts of the hash's range, so that proportions alone decide."""
    small, large = (integer_weights([share, 100 - share]) for share in shares)
    for hash_value in (0, 1, 2**16, 2**31, 2**32 - 1, small[0] * 2**32 // sum(small)):
        in_small = (hash_value * sum(small)) >> 32 < small[0]
        in_large = (hash_value * sum(large)) >> 32 < large[0]
        assert in_large or not in_small


@UNTIMED
@given(_NAME, _NAME, st.text(max_size=20), _SHARE)
def test_a_flag_is_read_back(endpoint: str, prompt: str, text: str, share: float) -> None:
    split = PromptSplit(endpoint, prompt, (("new-1", text, share), ("old-0", "old", 100 - share)), "r1")
    found = split_of(flag_of(split))
    assert flag_key(split) == f"{endpoint}.{prompt}"
    assert (found.endpoint, found.prompt, found.seed) == (endpoint, prompt, "r1")
    assert [(r, t) for r, t, _ in found.variants] == [("new-1", text), ("old-0", "old")]
    assert abs(found.variants[0][2] - share) < 1e-6
    assert flag_of(found) == flag_of(split)


def test_a_document_is_read_back_sorted() -> None:
    splits = [PromptSplit(e, p, (("r", "text", 100.0),), "s") for e in ("b", "a") for p in ("y", "x")]
    found, fences = parse_document(document(splits, {"a": 3, "b": 1}))
    assert [(s.endpoint, s.prompt) for s in found] == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    assert fences == {"a": 3, "b": 1}
