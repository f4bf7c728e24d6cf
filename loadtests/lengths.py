"""How long prompts and answers are: draws token counts from a profile's distributions.

Imports numpy and `loadtests.profile`. Called by `loadtests.workload`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from loadtests.profile import ChoiceLength, FixedLength, Length, LognormalLength, UniformLength

Ints = npt.NDArray[np.int64]


def draw_lengths(length: Length, count: int, *, rng: np.random.Generator) -> Ints:
    """Return `count` token counts, each at least 1."""
    drawn: Ints
    match length:
        case FixedLength(tokens=tokens):
            return np.full(count, tokens, dtype=np.int64)
        case UniformLength(min=low, max=high):
            drawn = rng.integers(low, high, size=count, dtype=np.int64, endpoint=True)
            return drawn
        case LognormalLength() as shape:
            bell = np.exp(rng.normal(np.log(shape.median), shape.sigma, size=count))
            drawn = np.clip(np.rint(bell), shape.min, shape.max).astype(np.int64)
            return drawn
        case ChoiceLength(tokens=choices, weights=weights):
            share = np.asarray(weights or [1.0] * len(choices))
            picked = rng.choice(len(choices), size=count, p=share / share.sum())
            drawn = np.asarray(choices, dtype=np.int64)[picked]
            return drawn
