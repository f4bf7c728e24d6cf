"""Copies are seeded, differ from their original, and are the same for both arms."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from reconciler.gates.eval.ask import messages_of, questions
from reconciler.gates.eval.perturb import ORIGINAL, variants, with_other_words, with_typo
from reconciler.gates.eval.suite import Case, Perturbations
from reconciler.gates.eval.suite_file import parse_suite
from tests.unit.gates.eval.test_suites import BASE

WANTED = Perturbations(typo=2, case=3, paraphrase=1, phrases={"how long": ["for how many days"]})


@given(st.text(min_size=1))
def test_copies_begin_with_the_original_and_are_all_different(text: str) -> None:
    made = variants(Case(id="a", input=text), WANTED)
    assert (made[0].name, made[0].input) == (ORIGINAL, text)
    assert len({variant.input for variant in made}) == len({variant.name for variant in made}) == len(made)
    assert made == variants(Case(id="a", input=text), WANTED)


def test_every_kind_of_copy() -> None:
    made = {v.name: v.input for v in variants(Case(id="a", input="How long may I return it?"), WANTED)}
    assert made["case-1"] == "HOW LONG MAY I RETURN IT?"
    assert made["paraphrase-1"] == "for how many days may I return it?"
    assert abs(len(made["typo-1"]) - 25) <= 1


def test_another_seed_gives_other_typos() -> None:
    case = Case(id="a", input="The customer received the wrong size and returned it yesterday")
    assert len({variants(case, Perturbations(typo=1, seed=seed))[1].input for seed in range(20)}) > 5


@given(st.text(alphabet="abcdefgh ", min_size=1), st.integers())
def test_a_typo_touches_one_place_of_a_long_word(text: str, seed: int) -> None:
    made = with_typo(text, random.Random(seed))
    if not any(len(word) >= 4 for word in text.split(" ")):
        assert made == text
    assert abs(len(made) - len(text)) <= 1
    assert made.count(" ") == text.count(" ")


def test_a_phrase_is_a_whole_one() -> None:
    assert with_other_words("another", {"other": ["x"]}, random.Random(0)) == "another"
    assert with_other_words("no other way", {"other": [r"\1"]}, random.Random(0)) == r"no \1 way"


def test_questions_multiply_copies_and_repeats() -> None:
    suite = parse_suite(BASE.replace("repeats: 1", "repeats: 3"), "base.yaml")
    asked = questions(suite)
    assert len(asked) == len(set(asked))
    assert [q.repeat for q in asked if (q.case, q.variant) == ("a", "paraphrase-1")] == [0, 1, 2]


def test_a_prompt_is_a_text_or_a_list_of_messages() -> None:
    assert messages_of(None) == ()
    assert messages_of("[be brief]") == ({"role": "system", "content": "[be brief]"},)
    assert messages_of('[{"role": "user", "content": "x"}]') == ({"role": "user", "content": "x"},)
