from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import Metaspace

from services.parser.document import clean
from services.parser.token_counting import TokenCounter
from tests.unit.parser.small_tokenizer import small_tokenizer

# Where BERT's rules differ from a split at white space: punctuation, ideographs, accents, marks, invisible characters.
AWKWARD = st.text(
    st.sampled_from("ab é1 .,-_'\n\t\u00a0\u3000中文かなाน\u0301\u200b\u200d≠;😀漢\U00020001"), max_size=80
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return small_tokenizer()


@pytest.fixture(scope="module")
def count(tokenizer: Tokenizer) -> TokenCounter:
    return TokenCounter(tokenizer)


def direct(tokenizer: Any, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False))


@given(text=AWKWARD | st.text(max_size=200))
def test_counts_exactly_what_the_tokenizer_makes(tokenizer: Tokenizer, count: TokenCounter, text: str) -> None:
    """INVARIANT: a text never has more tokens than were counted, else the model silently drops its end."""
    text = clean(text)
    assert count(text) == direct(tokenizer, text)


@pytest.mark.parametrize("word", ["a" * 99, "a" * 101, "a" * 401, "é" * 150, "e\u0301" * 90, "x-" * 300])
def test_never_counts_too_few_in_endless_words(tokenizer: Tokenizer, count: TokenCounter, word: str) -> None:
    assert direct(tokenizer, word) <= count(word) <= max(100, direct(tokenizer, word))


def test_counts_past_the_truncation_that_a_model_ships_with() -> None:
    tokenizer = small_tokenizer()
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    assert TokenCounter(tokenizer)("pump " * 20) == 20


def test_gives_other_kinds_of_tokenizer_the_text_as_a_whole() -> None:
    tokenizer = small_tokenizer()
    tokenizer.pre_tokenizer = Metaspace()
    assert TokenCounter(tokenizer)("pump valve") == direct(tokenizer, "pump valve")


def test_knows_how_many_special_tokens_the_model_adds(count: TokenCounter) -> None:
    assert count.special_tokens == 2
