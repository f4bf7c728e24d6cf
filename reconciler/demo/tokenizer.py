"""A tokenizer for the demo's models, built from a word list so that equal input gives equal bytes.

Pure: standard library only. Called by `reconciler.demo.models`.
"""

from __future__ import annotations

from typing import Any

SPECIAL = ("<unk>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>")
UNKNOWN, BEGIN, END, ASSISTANT = 0, 1, 2, 5

_SPACE = "▁"
_CHARACTERS = _SPACE + "\n" + "".join(chr(code) for code in range(0x21, 0x7F))
_WORD_LIST = """
a about after again all also an and any are as at ask be because before best between both but by can cannot change
close come could day delay did do does done early email every few find first for from get give go good had has have he
help her here hour how if in is it its just keep know large last late left let like little long look made make many may
message might more most much must my name need never new next no not now of off old on once one only open or order other
our out over own part pay people place please point question ready receive refund reply report right said same say see
send service set she should since small so some soon start still stop such support take team tell than thank that the
their them then there these they thing this those time to today too try two under until up us use very wait want was way
we week well were what when where which while who why will with work would write year yes yet you your
account address answer arrive back bill billing bring broken build call card care case charge check city clear cost
customer damage data date deliver delivery detail device document end error fact fast file follow form free full hand
happen high home house idea item kind letter level line list load low machine matter mean model money month move
number offer office online option package paper parcel password payment person phone plan price problem product
purchase quick reason record repair return river road room safe sales save second ship show side sign simple slow
speed state step stone store story system table take talk test text track travel turn type update user value view
visit water weather weight word world
"""

CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}{{ '<|' + message['role'] + '|> ' + message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def word_token(word: str) -> str:
    """Return the token that stands for a whole word of the list."""
    return _SPACE + word


def vocabulary() -> tuple[dict[str, int], list[list[str]]]:
    """Return token → id and the merges in order: every word of the list, and each of its beginnings, is one token."""
    tokens = [*SPECIAL, *_CHARACTERS]
    merges: list[list[str]] = []
    seen = set(tokens)
    for word in sorted(set(_WORD_LIST.split())):
        for length in range(1, len(word) + 1):
            left, right = _SPACE + word[: length - 1], word[length - 1]
            if left + right not in seen:
                seen.add(left + right)
                tokens.append(left + right)
                merges.append([left, right])
    return {token: index for index, token in enumerate(tokens)}, merges


def tokenizer_json() -> dict[str, Any]:
    """Return the content of `tokenizer.json`: byte-pair merges over lower-case ASCII, anything else is `<unk>`.

    Every token decodes to whole characters, so that a streaming server never has to hold one back.
    Source: the JSON layout of Hugging Face `tokenizers`.
    """
    tokens, merges = vocabulary()
    space: dict[str, Any] = {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "first", "split": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(index, text) for index, text in enumerate(SPECIAL)],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": space,
        "post_processor": None,
        "decoder": space,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": SPECIAL[UNKNOWN],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": tokens,
            "merges": merges,
        },
    }


def tokenizer_config(max_length: int) -> dict[str, Any]:
    """Return the content of `tokenizer_config.json`; `max_length` is in tokens."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": SPECIAL[UNKNOWN],
        "bos_token": SPECIAL[BEGIN],
        "eos_token": SPECIAL[END],
        "model_max_length": max_length,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }


def _added_token(index: int, text: str) -> dict[str, Any]:
    return {
        "id": index,
        "content": text,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
