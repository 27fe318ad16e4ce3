"""Counting a model's tokens, with its own tokenizer where there is one, else from what its endpoint reports."""

from math import ceil
from pathlib import Path
from typing import Final, Protocol

from tokenizers import Tokenizer

from shared.errors import Misconfigured

# English has four bytes to a token with the vocabularies in use, German and code three; a script of many bytes to the
# character two to three. Rather too few passages for the first answers than a request that is too long.
_BYTES_PER_TOKEN: Final = 3.0
# Each report moves the estimate by this part towards itself when it shows that fewer tokens were needed.
_LEARNING_RATE: Final = 0.2
_LEAST_REPORTED_TOKENS: Final = 50
_LEAST_RATIO, _GREATEST_RATIO = 0.3, 3.0


class TokenCounter(Protocol):
    """Counts tokens, and learns from what the endpoint counted."""

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        ...

    def learn(self, counted: int, reported: int) -> None:
        """Take note that the endpoint found `reported` tokens where this found `counted`."""
        ...


class Learned:
    """Corrects a counter by the ratio of what the endpoint reports; that includes what its chat template adds.

    A request that took more tokens than expected counts at once, one that took fewer only bit by bit.
    """

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self._ratio = 1.0

    def count(self, text: str) -> int:
        """Return the corrected number of tokens."""
        return ceil(self._counter.count(text) * self._ratio)

    def learn(self, counted: int, reported: int) -> None:
        """Move the ratio; reports on short texts, which are mostly template, are left out."""
        if counted < _LEAST_REPORTED_TOKENS or reported < 1:
            return
        seen = self._ratio * reported / counted
        step = 1.0 if seen > self._ratio else _LEARNING_RATE
        moved = self._ratio + step * (seen - self._ratio)
        self._ratio = min(max(moved, _LEAST_RATIO), _GREATEST_RATIO)


class Estimated:
    """Estimates from the length in UTF-8, for a model whose tokenizer is not at hand."""

    def count(self, text: str) -> int:
        """Return about the number of tokens."""
        return ceil(len(text.encode()) / _BYTES_PER_TOKEN)

    def learn(self, counted: int, reported: int) -> None:
        """Do nothing: `Learned` corrects from outside."""


class TokenizerFile:
    """Counts with the model's own `tokenizer.json`."""

    def __init__(self, path: Path) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # The library raises bare Exception for every kind of failure.
            raise Misconfigured(f"RAG_LLM_TOKENIZER: {path} is no tokenizer.json: {error}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def count(self, text: str) -> int:
        """Return the number of tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def learn(self, counted: int, reported: int) -> None:
        """Do nothing: `Learned` corrects from outside."""


def counter_for(tokenizer: Path | None) -> TokenCounter:
    """Return the counter of a tokenizer file, else the estimate; Misconfigured when the file is none."""
    return Learned(TokenizerFile(tokenizer) if tokenizer else Estimated())
