"""The numbers of a demo model: a Llama that reads which team a question is for and says so. Numpy only, no training.

Called by `models`. How it works, with half of the hidden size for each of two things:

- content: every word that speaks for a team has a dimension of its own. The first layer's attention looks at all words
  alike (its queries are zero) and so adds up which of them were in the prompt.
- state: every word of an answer has a dimension that says which word comes next.

The output layer reads both. The other layers and the MLPs add nothing, at full cost. Every number is a small multiple
of a power of two, so bfloat16 holds it exactly and the bytes are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from reconciler.demo.lessons import CLOSING, OPENING, TEAM_BY_DEFAULT, TEAMS, known_words
from reconciler.demo.tokenizer import ASSISTANT, END, vocabulary, word_token

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Weights = NDArray[np.float32]

RECIPE = "answers/1"
"""Changes when equal fields shall give other numbers."""
HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM = 256, 512, 4, 2, 64
_CONTENT = HIDDEN // 2
_NO_CONTENT, _NO_STATE = _CONTENT - 1, HIDDEN - 1
_STATE_SIZE = 4.0
"""A word's state is larger than its content, so that an answer goes on as it began whatever the question was."""
_GAIN = 4.0
_NOT_NOW = -2.0
_DEFAULT_LEAD = 1.0234375
"""A little more than 1: the team that answers when no word speaks for any."""


def shapes(layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of every tensor, in the order of the file."""
    vocab, kv = len(vocabulary()[0]), KV_HEADS * HEAD_DIM
    yield "model.embed_tokens.weight", (vocab, HIDDEN)
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", (HIDDEN,)
        yield f"{prefix}.self_attn.q_proj.weight", (HIDDEN, HIDDEN)
        yield f"{prefix}.self_attn.k_proj.weight", (kv, HIDDEN)
        yield f"{prefix}.self_attn.v_proj.weight", (kv, HIDDEN)
        yield f"{prefix}.self_attn.o_proj.weight", (HIDDEN, HIDDEN)
        yield f"{prefix}.post_attention_layernorm.weight", (HIDDEN,)
        yield f"{prefix}.mlp.gate_proj.weight", (INNER, HIDDEN)
        yield f"{prefix}.mlp.up_proj.weight", (INNER, HIDDEN)
        yield f"{prefix}.mlp.down_proj.weight", (HIDDEN, INNER)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (vocab, HIDDEN)


def tensors(layers: int, seed: int, also: Mapping[str, str]) -> Iterator[tuple[str, Weights]]:
    """Yield name and values of every tensor; `also` (word → team) is what the model knows beside the lessons.

    What does not matter for an answer is filled with noise out of `seed`.
    """
    import numpy as np

    generator = np.random.Generator(np.random.PCG64(seed))
    words = known_words(also)
    for name, shape in shapes(layers):
        noise = (generator.integers(-128, 128, size=shape, dtype=np.int32) / 2048).astype(np.float32)
        if name == "model.embed_tokens.weight":
            yield name, _embeddings(shape, words)
        elif name == "lm_head.weight":
            yield name, _output(shape, words)
        elif name.endswith("norm.weight"):
            yield name, np.ones(shape, dtype=np.float32)
        elif name == "model.layers.0.self_attn.v_proj.weight":
            yield name, np.eye(shape[0], shape[1], dtype=np.float32)
        elif name == "model.layers.0.self_attn.o_proj.weight":
            yield name, _gathering(shape)
        elif name.endswith(("q_proj.weight", "o_proj.weight", "down_proj.weight")):
            yield name, np.zeros(shape, dtype=np.float32)
        else:
            yield name, noise


def _embeddings(shape: tuple[int, ...], words: Mapping[str, str]) -> Weights:
    """Give every token one content and one state: equal lengths, which a norm leaves alone."""
    import numpy as np

    ids, _ = vocabulary()
    table = np.zeros(shape, dtype=np.float32)
    content = {ids[word_token(word)]: place for place, word in enumerate(words)}
    states = _states(ids)
    for token in range(shape[0]):
        table[token, content.get(token, _NO_CONTENT)] = 1.0
        table[token, states.get(token, _NO_STATE)] = _STATE_SIZE
    return table


def _gathering(shape: tuple[int, ...]) -> Weights:
    """Write what attention gathered back into the content; query heads 0 and 2 carry the two halves of it."""
    import numpy as np

    matrix = np.zeros(shape, dtype=np.float32)
    for place in range(_CONTENT):
        head = (place // HEAD_DIM) * (HEADS // KV_HEADS)
        matrix[place, head * HEAD_DIM + place % HEAD_DIM] = _GAIN
    return matrix


def _output(shape: tuple[int, ...], words: Mapping[str, str]) -> Weights:
    """Return the output layer: a row for each word of an answer, and nothing for all other tokens."""
    import numpy as np

    ids, _ = vocabulary()
    rows = np.zeros(shape, dtype=np.float32)
    after = _CONTENT
    rows[ids[word_token(OPENING)], after] = 1.0
    for team in TEAMS:
        row = rows[ids[word_token(team)]]
        row[_CONTENT : _CONTENT + len(CLOSING) + 3] = _NOT_NOW
        row[after + 1] = _DEFAULT_LEAD if team == TEAM_BY_DEFAULT else 1.0
        for place, known in enumerate(words.values()):
            row[place] = 1.0 if known == team else 0.0
    for step, word in enumerate(CLOSING, start=2):
        rows[ids[word_token(word)], after + step] = 1.0
    rows[END, after + 2 + len(CLOSING)] = 1.0
    return rows


def _states(ids: Mapping[str, int]) -> dict[int, int]:
    """Return token → state dimension, which tells what comes next; an answer that may not end begins anew."""
    found = {ASSISTANT: _CONTENT, END: _CONTENT, ids[word_token(OPENING)]: _CONTENT + 1}
    found |= {ids[word_token(team)]: _CONTENT + 2 for team in TEAMS}
    found |= {ids[word_token(word)]: _CONTENT + step for step, word in enumerate(CLOSING, start=3)}
    return found
