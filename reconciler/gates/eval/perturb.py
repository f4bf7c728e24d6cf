"""Disturbed copies of an input, for robustness: a typo, another case, other words. Seeded: equal input, equal copies.

Pure. Called by `ask`; challenger and champion get the same copies.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.gates.eval.suite import Case, Perturbations

ORIGINAL = "original"
_CASES = (str.upper, str.lower, str.title)


@dataclass(frozen=True)
class Variant:
    """One input as it is asked. `name` is `original`, or the kind and number of the disturbance, such as `typo-1`."""

    name: str
    input: str


def variants(case: Case, wanted: Perturbations) -> tuple[Variant, ...]:
    """Return the original and its copies; a copy that came out like an earlier one is left out."""
    seen: dict[str, str] = {}
    for variant in (Variant(ORIGINAL, case.input), *_copies(case, wanted)):
        seen.setdefault(variant.input, variant.name)
    return tuple(Variant(name, text) for text, name in seen.items())


def _copies(case: Case, wanted: Perturbations) -> Iterator[Variant]:
    for index in range(wanted.typo):
        yield Variant(f"typo-{index + 1}", with_typo(case.input, _dice(wanted.seed, case.id, "typo", index)))
    for index, change in enumerate(_CASES[: wanted.case]):
        yield Variant(f"case-{index + 1}", change(case.input))
    for index in range(wanted.paraphrase):
        dice = _dice(wanted.seed, case.id, "paraphrase", index)
        yield Variant(f"paraphrase-{index + 1}", with_other_words(case.input, wanted.phrases, dice))


def with_typo(text: str, dice: random.Random) -> str:
    """Swap two letters, lose one or double one, inside a word of four letters or more; text without such stays."""
    places = [m.start() + i for m in re.finditer(r"[^\W\d_]{4,}", text) for i in range(1, len(m[0]) - 1)]
    if not places:
        return text
    at = dice.choice(places)
    match dice.randrange(3):
        case 0:
            return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        case 1:
            return text[:at] + text[at + 1 :]
        case _:
            return text[:at] + text[at] + text[at:]


def with_other_words(text: str, phrases: Mapping[str, list[str]], dice: random.Random) -> str:
    """Replace one phrase of the table that stands in the text; text without any stays."""
    there = sorted(phrase for phrase in phrases if _found(phrase, text))
    if not there:
        return text
    phrase = dice.choice(there)
    other = dice.choice(phrases[phrase])
    return re.sub(_pattern(phrase), lambda _: other, text, count=1, flags=re.IGNORECASE)


def _found(phrase: str, text: str) -> bool:
    return re.search(_pattern(phrase), text, re.IGNORECASE) is not None


def _pattern(phrase: str) -> str:
    return rf"(?<!\w){re.escape(phrase)}(?!\w)"


def _dice(seed: int, case: str, kind: str, index: int) -> random.Random:
    mark = hashlib.sha256(f"{seed}:{case}:{kind}:{index}".encode()).digest()
    return random.Random(int.from_bytes(mark[:8], "big"))
