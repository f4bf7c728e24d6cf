"""Writes a tokenizer of plain words to the folder named on the command line; runs in aiperf's own venv.

Imports tokenizers and transformers, which aiperf brings.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Make and save the tokenizer."""
    import importlib

    tokenizers, transformers = importlib.import_module("tokenizers"), importlib.import_module("transformers")

    words = ["<unk>", "<s>", "</s>", *(chr(code) for code in range(33, 127)), *(f"word{i}" for i in range(500))]
    model = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>")
    )
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    ).save_pretrained(sys.argv[1])


if __name__ == "__main__":
    main()
