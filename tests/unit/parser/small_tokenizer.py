"""A BERT tokenizer small enough to write down: letters, digits, punctuation and a few whole words."""

import string
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "pump",
    "valve",
    "pressure",
    "bar",
    "vessel",
    "starts",
    "when",
    "falls",
    "below",
    "four",
    "second",
]


def small_tokenizer() -> Tokenizer:
    """Return a new tokenizer of the same kind as the embedding model's."""
    letters = string.ascii_lowercase + string.digits
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *letters,
        *string.punctuation,
        *(f"##{one}" for one in letters),
        *WORDS,
    ]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    return tokenizer


def save_small_tokenizer(directory: Path) -> Path:
    """Write it to `directory` as the file that a child process loads."""
    path = directory / "tokenizer.json"
    small_tokenizer().save(str(path))
    return path
