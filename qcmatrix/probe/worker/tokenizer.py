"""A small byte-level BPE tokenizer with the added tokens of Qwen3-Coder, built without a network.

The parsers look up ``<tool_call>`` and ``</tool_call>`` in the vocabulary and compare token ids, so the added tokens
have the ids and the ``special`` marks of the real tokenizer
(https://huggingface.co/Qwen/Qwen3-Coder-30B-A3B-Instruct, file ``tokenizer_config.json``). The merges are our own:
words spelt out left to right, so that texts cut into tokens of uneven length that straddle the markup, as the real ones
do, and cut the same under every version of ``tokenizers``.
"""

from __future__ import annotations

import functools
from typing import Any

ADDED_TOKENS = {
    "<|endoftext|>": (151643, True),
    "<|im_start|>": (151644, True),
    "<|im_end|>": (151645, True),
    "<tool_call>": (151657, False),
    "</tool_call>": (151658, False),
    "<|fim_prefix|>": (151659, False),
    "<|fim_middle|>": (151660, False),
    "<|fim_suffix|>": (151661, False),
    "<|fim_pad|>": (151662, False),
    "<|repo_name|>": (151663, False),
    "<|file_sep|>": (151664, False),
    "<tool_response>": (151665, False),
    "</tool_response>": (151666, False),
    "<think>": (151667, False),
    "</think>": (151668, False),
}
"""Text to (id, special): special ones are left out of the text that vLLM hands on."""

END_OF_TURN = 151645

_WORDS = (
    "</",
    ">\n",
    ">\n\n",
    "function",
    "parameter",
    "=read",
    "=edit",
    "=write",
    "=path",
    "=old",
    "=new",
    "=content",
    "_file",
    " return",
    " the",
    " to",
    " is",
    " call",
    " tool",
    " file",
    "import",
    "def",
    "self",
    "true",
    "false",
    "null",
    "    ",
    "        ",
    "\n\n",
    "\r\n",
    "://",
    '":',
    ' "',
    '",',
    "line",
    "src",
    "python",
    "print",
    "name",
    "value",
    "text",
)
# The split into words before merging, in the form that GPT-4's and Qwen's tokenizers use.
_WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _byte_letters() -> dict[int, str]:
    """The letter that byte-level BPE writes for each byte: printable ones for themselves, the rest from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in plain}
    for byte in range(256):
        letters.setdefault(byte, chr(0x100 + len(letters) - len(plain)))
    return letters


@functools.lru_cache(maxsize=1)
def backend() -> Any:
    """The ``tokenizers.Tokenizer``; its text is the bytes given, whatever they are."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    letters = _byte_letters()
    vocabulary = {letter: byte for byte, letter in letters.items()}
    merges: list[tuple[str, str]] = []
    for word in _WORDS:
        spelt = [letters[byte] for byte in word.encode()]
        so_far = spelt[0]
        for letter in spelt[1:]:
            if so_far + letter not in vocabulary:
                vocabulary[so_far + letter] = len(vocabulary)
                merges.append((so_far, letter))
            so_far += letter
    # Added tokens take the id that the vocabulary already has for their text: that is how they get Qwen's ids. The ids
    # between are filled with what no text becomes: a vocabulary with holes is reported, all of its 150,000 holes by id.
    named = {token: text for text, (token, _) in ADDED_TOKENS.items()}
    for token in range(len(vocabulary), max(named) + 1):
        vocabulary[named.get(token, f"{letters[0]}{token}")] = token
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    for text, (token, special) in ADDED_TOKENS.items():
        added = AddedToken(text, special=special, normalized=False)
        (made.add_special_tokens if special else made.add_tokens)([added])
        if made.token_to_id(text) != token:
            raise RuntimeError(f"the tokenizer gives {text} the id {made.token_to_id(text)} and not {token}")
    return made


@functools.lru_cache(maxsize=1)
def tokenizer() -> Any:
    """The same as a fast Transformers tokenizer: what the parsers of every release are given."""
    from transformers import PreTrainedTokenizerFast

    class Remembering(PreTrainedTokenizerFast):  # type: ignore[misc]  # Transformers is not installed here
        """Makes its vocabulary once, as vLLM's own wrapper does: every parser asks for it when it is made."""

        def get_vocab(self) -> dict[str, int]:
            if not hasattr(self, "_vocabulary_made"):
                self._vocabulary_made: dict[str, int] = super().get_vocab()
            return self._vocabulary_made

    return Remembering(
        tokenizer_object=backend(),
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|endoftext|>",  # noqa: S106
        clean_up_tokenization_spaces=False,
    )


def tokens(text: str) -> list[tuple[str, list[int]]]:
    """The text as vLLM's detokenizer hands it on: (text, ids) for each token.

    A token that ends inside a character adds no text; the whole character comes with the token that completes it.
    """
    encoded = backend().encode(text, add_special_tokens=False)
    pieces: list[tuple[str, list[int]]] = []
    given = 0
    ids, offsets = encoded.ids, encoded.offsets  # each access makes the list anew
    for index, token in enumerate(ids):
        start, end = offsets[index]
        unfinished = index + 1 < len(ids) and offsets[index + 1][0] < end
        upto = max(given, min(start, end) if unfinished else end)
        pieces.append((text[given:upto], [token]))
        given = upto
    if given != len(text) or "".join(piece for piece, _ in pieces) != text:
        raise RuntimeError("the tokenizer lost text")
    return pieces


def letters(text: str) -> list[tuple[str, list[int]]]:
    """The finest pieces that a model can send: one character each, an added token whole."""
    pieces: list[tuple[str, list[int]]] = []
    index = 0
    while index < len(text):
        added = next((word for word in ADDED_TOKENS if text.startswith(word, index)), None)
        piece = added or text[index]
        pieces.append((piece, backend().encode(piece, add_special_tokens=False).ids))
        index += len(piece)
    return pieces
