"""Prompt splits as flags in flagd's format, and back. Pure; `reconciler.pointers.flagd` reads and writes the file.

Source: https://flagd.dev/reference/flag-definitions/ and https://flagd.dev/reference/custom-operations/fractional-operation/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.core.canonical import Json
from reconciler.ports import PromptSplit

SCHEMA = "https://flagd.dev/schema/v0/flags.json"
_FENCE = "fence."
_TARGETING_KEY: Json = {"var": "targetingKey"}
_FINEST = 1_000_000
"""Shares are whole parts of 100 million at the finest: flagd wants integers whose sum fits 31 bits."""


def flag_key(split: PromptSplit) -> str:
    """Return the flag's name, `ENDPOINT.PROMPT`, which applications ask for."""
    return f"{split.endpoint}.{split.prompt}"


def flag_of(split: PromptSplit) -> Json:
    """Return the flag of one split.

    Users without a targeting key get the default variant, or all of them would land in the same bucket.
    """
    flag: Json = {
        "state": "ENABLED",
        "variants": {release: text for release, text, _ in split.variants},
        "defaultVariant": _default(split),
        "metadata": {"endpoint": split.endpoint, "prompt": split.prompt, "seed": split.seed} | _roles(split),
    }
    if len(split.variants) > 1:
        weights = integer_weights([share for _, _, share in split.variants])
        parts = [[release, weight] for (release, _, _), weight in zip(split.variants, weights, strict=True)]
        bucket = {"cat": [split.seed, _TARGETING_KEY]}
        flag["targeting"] = {"if": [_TARGETING_KEY, {"fractional": [bucket, *parts]}]}
    return flag


def split_of(flag: Mapping[str, Any]) -> PromptSplit:
    """Return the split that `flag_of` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is not such a flag.
    """
    variants, about = flag["variants"], flag["metadata"]
    if "targeting" in flag:
        _, *parts = flag["targeting"]["if"][1]["fractional"]
    else:
        parts = [[flag["defaultVariant"], 1]]
    total = sum(weight for _, weight in parts)
    shares = tuple((release, variants[release], weight * 100 / total) for release, weight in parts)
    return PromptSplit(endpoint=about["endpoint"], prompt=about["prompt"], variants=shares, seed=about["seed"])


def document(splits: Sequence[PromptSplit], fences: Mapping[str, int]) -> Json:
    """Return the whole document; `fences` is the highest lease token seen for each endpoint."""
    return {
        "$schema": SCHEMA,
        "flags": {flag_key(split): flag_of(split) for split in splits},
        "metadata": {f"{_FENCE}{endpoint}": token for endpoint, token in fences.items()},
    }


def parse_document(content: Any) -> tuple[tuple[PromptSplit, ...], dict[str, int]]:
    """Return splits, sorted by endpoint and prompt, and fences.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not a document that `document` made.
    """
    splits = [split_of(flag) for flag in content["flags"].values()]
    about = content["metadata"].items()
    fences = {key.removeprefix(_FENCE): int(token) for key, token in about if key.startswith(_FENCE)}
    return tuple(sorted(splits, key=lambda s: (s.endpoint, s.prompt))), fences


def integer_weights(shares_pct: Sequence[float]) -> tuple[int, ...]:
    """Return whole weights in the proportion of `shares_pct`, with as few digits as it takes to be exact.

    A share finer than a millionth of a percent is rounded, and the last weight takes what is left.
    """
    scale = 1
    while scale < _FINEST and any(abs(share * scale - round(share * scale)) > 1e-9 * scale for share in shares_pct):
        scale *= 10
    weights = [round(share * scale) for share in shares_pct[:-1]]
    return (*weights, 100 * scale - sum(weights))


def _default(split: PromptSplit) -> str:
    """Return the champion, which comes last, or the challenger once the champion has no share any more."""
    last, _, share = split.variants[-1]
    return last if share > 0 else max(split.variants, key=lambda v: v[2])[0]


def _roles(split: PromptSplit) -> Json:
    if len(split.variants) == 1:
        return {"champion": split.variants[0][0]}
    return {"challenger": split.variants[0][0], "champion": split.variants[-1][0]}
