"""Every scorer on answers that are good, bad and awkward."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.gates.eval.scorers import SCORE
from reconciler.gates.eval.suite import SCORERS

OBJECT = {"type": "object", "required": ["name", "port"], "properties": {"port": {"type": "number"}}}
ROWS: list[tuple[dict[str, Any], Any, str, bool]] = [
    ({"kind": "exact"}, "yes", " yes\n", True),
    ({"kind": "exact"}, "yes", "Yes", False),
    ({"kind": "exact", "ignore_case": True}, "STRASSE", "straße", True),
    ({"kind": "exact"}, "", "", True),
    ({"kind": "contains"}, "30 days", "within 30 days.", True),
    ({"kind": "contains"}, "30 Days", "within 30 days.", False),
    ({"kind": "contains", "ignore_case": True}, "30 Days", "within 30 days.", True),
    ({"kind": "contains"}, ["a", "b"], "b and a", True),
    ({"kind": "contains"}, ["a", "z"], "b and a", False),
    ({"kind": "regex"}, r"\b[A-Z]{2}-\d{6}\b", "such as AB-123456.", True),
    ({"kind": "regex"}, r"\b[A-Z]{2}-\d{6}\b", "such as AB-12345.", False),
    ({"kind": "regex", "pattern": "<unk>", "absent": True}, None, "fine", True),
    ({"kind": "regex", "pattern": "<unk>", "absent": True}, None, "a <unk>", False),
    ({"kind": "json_schema"}, OBJECT, '{"name": "x", "port": 80}', True),
    ({"kind": "json_schema"}, OBJECT, '```json\n{"name": "x", "port": 80}\n```', True),
    ({"kind": "json_schema"}, OBJECT, '{"name": "x", "port": "80"}', False),
    ({"kind": "json_schema"}, OBJECT, '{"name": "x"}', False),
    ({"kind": "json_schema"}, OBJECT, '{"name": "x", "port": NaN}', False),
    ({"kind": "json_schema"}, OBJECT, "Here you are: {}", False),
    ({"kind": "json_schema"}, OBJECT, "[" * 100_000, False),
    ({"kind": "numeric"}, 31, "0x1f is 31.", True),
    ({"kind": "numeric"}, 31, "thirty-one", False),
    ({"kind": "numeric"}, 1234.5, "the sum is 1,234.5", True),
    ({"kind": "numeric"}, -4, "it is -4", True),
    ({"kind": "numeric", "tolerance": 0.1}, 3.14, "3.2", True),
    ({"kind": "numeric", "tolerance": 0.05}, 3.14, "3.2", False),
    ({"kind": "numeric", "relative": 0.1}, 1000, "1.05e3", True),
    ({"kind": "numeric"}, 2, "first 2, then 3", False),
    ({"kind": "similarity", "threshold": 0.9}, "A parcel was left.", "a PARCEL was left", True),
    ({"kind": "similarity", "threshold": 0.9}, "A parcel was left.", "was left: a parcel", True),
    ({"kind": "similarity", "threshold": 0.6}, "A parcel was left.", "The weather is fine today", False),
    ({"kind": "similarity", "threshold": 0.9}, ["nothing like it", "a parcel"], "A parcel", True),
    ({"kind": "similarity", "threshold": 0.1}, "words", "", False),
    ({"kind": "refusal"}, None, "I'm sorry, but that is not possible.", True),
    ({"kind": "refusal"}, None, "I can’t share that.", True),
    ({"kind": "refusal"}, None, "Das kann ich Ihnen leider nicht sagen.", True),
    ({"kind": "refusal"}, None, "Je ne peux pas vous aider.", True),
    ({"kind": "refusal"}, None, "The address is Main Street 1.", False),
    ({"kind": "refusal"}, None, "", False),
    ({"kind": "refusal"}, False, "I cannot help with that.", False),
    ({"kind": "refusal"}, False, "Of course: 30 days.", True),
    ({"kind": "refusal", "absent": True}, None, "Of course.", True),
    ({"kind": "refusal", "absent": True}, True, "I cannot.", True),
    ({"kind": "refusal", "phrases": ["ask the desk"]}, None, "Please ask the desk.", True),
    ({"kind": "toxicity", "words": ["idiot", "shut up"]}, None, "You IDIOT!", False),
    ({"kind": "toxicity", "words": ["idiot", "shut up"]}, None, "Shut  up.", False),
    ({"kind": "toxicity", "words": ["idiot", "shut up"]}, None, "an idiotic rule", True),
    ({"kind": "toxicity", "words": ["idiot"]}, None, "ｉｄｉｏｔ", False),
    ({"kind": "toxicity", "words": ["crétin"]}, None, "cretin", False),
    ({"kind": "toxicity", "words": ["idiot"]}, None, "", True),
    ({"kind": "length"}, None, "  \n", False),
    ({"kind": "length", "min_chars": 2, "max_chars": 3}, None, " abc ", True),
    ({"kind": "length", "min_chars": 2, "max_chars": 3}, None, "abcd", False),
]


@pytest.mark.parametrize(("spec", "expected", "answer", "passed"), ROWS)
def test_score(spec: dict[str, Any], expected: Any, answer: str, passed: bool) -> None:
    scorer = SCORERS[spec["kind"]].model_validate(spec)
    found = SCORE[spec["kind"]](scorer, expected, answer)
    assert found.passed is passed, found.why
    assert 0 < len(found.why) < 200


def test_every_kind_has_a_scorer_and_rows_for_both_ends() -> None:
    assert set(SCORE) == set(SCORERS) - {"llm_judge"}
    for kind in SCORE:
        assert {passed for spec, _, _, passed in ROWS if spec["kind"] == kind} == {True, False}
