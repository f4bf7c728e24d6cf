"""A split and its flags say the same, whatever the shares."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.pointers.flags import RESOLUTION_PCT, fenced, fences_of, flags_of, integer_weights, is_ours, splits_of
from reconciler.ports import DrawnRelease, ReleaseSplit

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
_SHARE = st.integers(0, 10**8).map(lambda n: n / 10**6)
_NAME = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
_PROMPTS = st.dictionaries(_NAME.filter(lambda name: name != "release"), st.text(max_size=20), max_size=3)


def split(share: float, new: dict[str, str], old: dict[str, str], *, endpoint: str = "chat") -> ReleaseSplit:
    drawn = (DrawnRelease("chat-1", share, new), DrawnRelease("chat-0", 100 - share, old))
    return ReleaseSplit(endpoint, drawn, "r1")


@UNTIMED
@given(_SHARE)
def test_weights_are_whole_and_exact(share: float) -> None:
    challenger, champion = integer_weights([share, 100 - share])
    total = challenger + champion
    assert challenger >= 0
    assert champion >= 0
    assert total <= 2**31 - 1
    assert abs(challenger * 100 / total - share) < 1e-6


def test_every_percentage_of_two_decimals_is_read_back_at_the_documents_resolution() -> None:
    """100 - 64.1 is no float that whole weights give back: whoever compares must compare at the resolution."""
    for hundredths in range(1, 10_000):
        share = hundredths / 100
        for wanted in ((share, 100 - share), (100 - share, share)):
            [found] = splits_of(flags_of(split(wanted[0], {"system": "new"}, {"system": "old"})))
            off = [abs(drawn.share_pct - pct) for drawn, pct in zip(found.releases, wanted, strict=True)]
            assert max(off) < RESOLUTION_PCT, (share, off)


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
@given(_NAME, _PROMPTS, _PROMPTS, _SHARE)
def test_a_split_is_read_back(endpoint: str, new: dict[str, str], old: dict[str, str], share: float) -> None:
    wanted = split(share, new, old, endpoint=endpoint)
    flags = flags_of(wanted)
    [found] = splits_of(flags)
    assert (found.endpoint, found.seed) == (endpoint, "r1")
    assert [(d.release, d.prompts) for d in found.releases] == [("chat-1", new), ("chat-0", old)]
    assert abs(found.releases[0].share_pct - share) < RESOLUTION_PCT
    assert flags_of(found) == flags
    assert all(is_ours(flag, endpoint) for flag in flags.values())


def test_splits_come_sorted_and_other_peoples_flags_are_passed_over() -> None:
    flags: dict[str, Any] = {"theirs": {"state": "ENABLED", "variants": {"on": True}}, "odd": 3, "empty": {}}
    for endpoint in ("b", "a"):
        flags |= flags_of(split(10, {"system": "new"}, {"system": "old"}, endpoint=endpoint))
    assert [s.endpoint for s in splits_of(flags)] == ["a", "b"]
    assert not any(is_ours(flags[key]) for key in ("theirs", "odd", "empty"))


def test_flags_of_ours_that_somebody_has_broken_are_not_there() -> None:
    flags = flags_of(split(10, {"system": "new"}, {"system": "old"}))
    flags["chat.release"]["targeting"] = {"if": ["by hand"]}
    assert splits_of(flags) == ()


def test_each_endpoint_has_its_own_token() -> None:
    metadata = fenced(fenced({"owner": "web"}, "a", 3), "b", 1)
    assert fences_of(metadata) == {"a": 3, "b": 1}
    assert metadata["owner"] == "web"
    assert fences_of(fenced(metadata, "a", 4)) == {"a": 4, "b": 1}
