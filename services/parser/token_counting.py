"""How many tokens a text has for the embedding model."""

import re
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

MAX_REMEMBERED_PIECES: Final = 100_000
_MAX_REMEMBERED_CHARACTERS: Final = 256
# BERT always splits at these: ASCII punctuation, and ideographs where its normalizer sets them between spaces.
_PUNCTUATION: Final = r"!-/:-@\[-`{-~"
_IDEOGRAPHS: Final = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f"
)
_PIECES: Final = re.compile(f"[{_PUNCTUATION}]|[^\\s{_PUNCTUATION}]+")
_PIECES_WITH_IDEOGRAPHS: Final = re.compile(f"[{_PUNCTUATION}{_IDEOGRAPHS}]|[^\\s{_PUNCTUATION}{_IDEOGRAPHS}]+")


class TokenCounter:
    """Counts tokens, special ones not included; never too few.

    BERT's pre-tokenizer never joins what white space separates, so a text has as many tokens as its words have
    together, and words come back: remembering them makes splitting five times as fast. Other tokenizers see the text
    as a whole.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._remembered: dict[str, int] = {}
        self.special_tokens: int = tokenizer.num_special_tokens_to_add(is_pair=False)
        self._additive = _is_bert(tokenizer)
        if self._additive:
            apart = tokenizer.normalizer.handle_chinese_chars
            self._pieces = _PIECES_WITH_IDEOGRAPHS if apart else _PIECES
            self._longest_word: int = tokenizer.model.max_input_chars_per_word

    @classmethod
    def from_file(cls, path: str | Path) -> "TokenCounter":
        """Load a `tokenizer.json`."""
        return cls(Tokenizer.from_file(str(path)))

    def __call__(self, text: str) -> int:
        """Return the number of tokens of `text`."""
        return sum(map(self._of_word, text.split())) if self._additive else self._encoded(text)

    def _of_word(self, word: str) -> int:
        known = self._remembered.get(word)
        if known is not None:
            return known
        if len(word) <= _MAX_REMEMBERED_CHARACTERS and word.isascii():
            return self._remember(word)
        return sum(map(self._of_piece, self._pieces.findall(word)))

    def _of_piece(self, piece: str) -> int:
        known = self._remembered.get(piece)
        if known is not None:
            return known
        if len(piece) <= _MAX_REMEMBERED_CHARACTERS:
            return self._remember(piece)
        # WordPiece makes one [UNK] of longer words. Accents and the like do not count in it, hence the margin.
        return self._longest_word if len(piece) > 4 * self._longest_word else self._encoded(piece)

    def _remember(self, piece: str) -> int:
        if len(self._remembered) >= MAX_REMEMBERED_PIECES:
            self._remembered.clear()
        tokens = self._remembered[piece] = self._encoded(piece)
        return tokens

    def _encoded(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))


def _is_bert(tokenizer: Tokenizer) -> bool:
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.model)
    return [type(part).__name__ for part in parts] == ["BertNormalizer", "BertPreTokenizer", "WordPiece"]
