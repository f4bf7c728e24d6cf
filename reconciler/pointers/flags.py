"""Release splits as flags in flagd's format, and back. Pure.

Of each endpoint one flag draws the release (`ENDPOINT.release`), by user, and one for each prompt follows that draw
(`ENDPOINT.PROMPT`): an application resolves the first and gives its value to the others as the attribute `release`.

Source: https://flagd.dev/reference/flag-definitions/ and https://flagd.dev/reference/custom-operations/fractional-operation/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from environments.names import RELEASE_FLAG
from reconciler.core.canonical import Json
from reconciler.ports import DrawnRelease, ReleaseSplit

SCHEMA = "https://flagd.dev/schema/v0/flags.json"
RELEASE_ATTRIBUTE = "release"
"""The attribute of the evaluation context in which an application passes on the release that it was given."""
_FENCE = "fence."
_TARGETING_KEY: Json = {"var": "targetingKey"}
_FINEST = 1_000_000
"""Shares are whole parts of 100 million at the finest: flagd wants integers whose sum fits 31 bits."""
RESOLUTION_PCT = 1 / _FINEST


def flag_key(endpoint: str, name: str) -> str:
    """Return a flag's name, `ENDPOINT.NAME`, which applications ask for."""
    return f"{endpoint}.{name}"


def flags_of(split: ReleaseSplit) -> dict[str, Json]:
    """Return an endpoint's flags by key: the one that draws the release, and one for each prompt."""
    names = sorted({name for drawn in split.releases for name in drawn.prompts})
    flags = {flag_key(split.endpoint, name): _prompt_flag(split, name) for name in names}
    return flags | {flag_key(split.endpoint, RELEASE_FLAG): _release_flag(split)}


def _release_flag(split: ReleaseSplit) -> Json:
    """Return the draw. Without a targeting key all users would land in one bucket, so those get the champion."""
    releases = [drawn.release for drawn in split.releases]
    flag: Json = {
        "state": "ENABLED",
        "variants": {release: release for release in releases},
        "defaultVariant": _unasked(split).release,
        "metadata": _about(split, draws=RELEASE_FLAG),
    }
    if len(releases) > 1:
        weights = integer_weights([drawn.share_pct for drawn in split.releases])
        parts = [[release, weight] for release, weight in zip(releases, weights, strict=True)]
        bucket = {"cat": [split.seed, _TARGETING_KEY]}
        flag["targeting"] = {"if": [_TARGETING_KEY, {"fractional": [bucket, *parts]}]}
    return flag


def _prompt_flag(split: ReleaseSplit, name: str) -> Json:
    """Return the flag of one prompt: of the release that was drawn, else the champion's.

    Where the champion has none, neither have users who were not given the challenger: applications fall back to
    their own default. Where only the champion has it, it is everyone's.
    """
    texts = {drawn.release: drawn.prompts[name] for drawn in split.releases if name in drawn.prompts}
    unasked = _unasked(split).release
    otherwise = unasked if unasked in texts else None
    flag: Json = {
        "state": "ENABLED",
        "variants": texts,
        "defaultVariant": otherwise,
        "metadata": _about(split, prompt=name),
    }
    others = [release for release in texts if release != unasked]
    if others:
        wanted = [part for release in others for part in ({"==": [{"var": RELEASE_ATTRIBUTE}, release]}, release)]
        flag["targeting"] = {"if": [*wanted, otherwise]}
    return flag


def _unasked(split: ReleaseSplit) -> DrawnRelease:
    """Return the release of users who did not ask: the champion, or the challenger once it has everything."""
    last = split.releases[-1]
    return last if last.share_pct > 0 else max(split.releases, key=lambda drawn: drawn.share_pct)


def _about(split: ReleaseSplit, **more: str) -> Json:
    roles = {"champion": split.releases[-1].release}
    if len(split.releases) > 1:
        roles["challenger"] = split.releases[0].release
    return {"endpoint": split.endpoint, "seed": split.seed} | more | roles


def is_ours(flag: Any, endpoint: str | None = None) -> bool:
    """Return whether Sluice wrote a flag, for one endpoint or for any."""
    about = flag.get("metadata") if isinstance(flag, dict) else None
    if not isinstance(about, dict) or "endpoint" not in about or not ("draws" in about or "prompt" in about):
        return False
    return endpoint is None or about["endpoint"] == endpoint


def splits_of(flags: Mapping[str, Any]) -> tuple[ReleaseSplit, ...]:
    """Return the splits that a document's flags hold, sorted by endpoint.

    An endpoint whose flags somebody has changed beyond recognition has none: it is published again.
    """
    ours = [flag for flag in flags.values() if is_ours(flag)]
    found = []
    for draw in (flag for flag in ours if "draws" in flag["metadata"]):
        try:
            found.append(_split_of(draw, ours))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError):
            continue
    return tuple(sorted(found, key=lambda split: split.endpoint))


def _split_of(draw: Json, ours: Sequence[Json]) -> ReleaseSplit:
    endpoint, seed = draw["metadata"]["endpoint"], draw["metadata"]["seed"]
    texts = {
        flag["metadata"]["prompt"]: dict(flag["variants"])
        for flag in ours
        if "prompt" in flag["metadata"] and flag["metadata"]["endpoint"] == endpoint
    }
    releases = tuple(
        DrawnRelease(release, share, {name: by[release] for name, by in sorted(texts.items()) if release in by})
        for release, share in _shares(draw)
    )
    return ReleaseSplit(str(endpoint), releases, str(seed))


def _shares(draw: Json) -> list[tuple[str, float]]:
    if "targeting" not in draw:
        return [(str(draw["defaultVariant"]), 100.0)]
    _, *parts = draw["targeting"]["if"][1]["fractional"]
    total = sum(weight for _, weight in parts)
    return [(str(release), weight * 100 / total) for release, weight in parts]


def fences_of(metadata: Mapping[str, Any]) -> dict[str, int]:
    """Return the highest lease token seen for each endpoint.

    Raises:
        ValueError, TypeError: one of them is not a number.
    """
    return {key.removeprefix(_FENCE): int(token) for key, token in metadata.items() if key.startswith(_FENCE)}


def fenced(metadata: Mapping[str, Any], endpoint: str, fence: int) -> Json:
    """Return a document's metadata with another token for one endpoint."""
    return dict(metadata) | {f"{_FENCE}{endpoint}": fence}


def integer_weights(shares_pct: Sequence[float]) -> tuple[int, ...]:
    """Return whole weights in the proportion of `shares_pct`, with as few digits as it takes to be exact.

    A share finer than a millionth of a percent is rounded, and the last weight takes what is left.
    """
    scale = 1
    while scale < _FINEST and any(abs(share * scale - round(share * scale)) > 1e-9 * scale for share in shares_pct):
        scale *= 10
    weights = [round(share * scale) for share in shares_pct[:-1]]
    return (*weights, 100 * scale - sum(weights))
