"""How much of a question's content a text takes up: words are stemmed, and rare ones, numbers and names weigh more."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from py_rust_stemmers import SnowballStemmer

# Scripts without spaces between words count by the character; a possessive ending is a word of its own.
_WORD: Final = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+(?:[.,'\u2019](?!s\b)[^\W_]+)*"
)
SPECIFIC_WEIGHT: Final = 1.5
# Function words, question words, and the words by which people address a system instead of its documents.
_EMPTY: Final = (
    "a about after all also am an and any are as at be because been before being between both but by can could did do"
    " does doing done during each for from further had has have having he her here him his how i if in into is it its"
    " itself just many may me might more most much must my no nor not of off on once only or other our out over own s"
    " same shall she should so some such than that the their them then there these they this those through to too"
    " under until up upon us very was we were what when where which while who whom whose why will with would you your"
    " document documents explain please tell"
)
_EMPTY_WORDS: Final = frozenset(_EMPTY.split())

Words = frozenset[str]


def words_of(text: str) -> Words:
    """Return the stems of a text's words."""
    return frozenset(_stems(_WORD.findall(text.lower())))


def content_words(text: str) -> list[re.Match[str]]:
    """Return where a text's words stand, without those that say nothing of what it is about."""
    return [match for match in _WORD.finditer(text) if match.group().lower() not in _EMPTY_WORDS]


def question_weights(question: str, passages: Sequence[Words]) -> dict[str, float]:
    """Return the weight of each content word (stem) of a question, given the words of each passage that was found.

    A word's weight is its inverse document frequency among the passages, log(1 + (n + 1) / (df + 0.5)), times 1.5 when
    it is a number or a name. Words that no passage holds weigh most: they are what the passages fail to speak of.
    """
    return {
        stem: weight * _rarity(len(passages), sum(stem in passage for passage in passages))
        for stem, weight in _specificity(question).items()
    }


def coverage(weights: Mapping[str, float], present: Words) -> float:
    """Return the share (0 to 1) of a question's weight that falls on words which are present; 0 without any weight."""
    total = sum(weights.values())
    return sum(weight for stem, weight in weights.items() if stem in present) / total if total else 0.0


def _rarity(passages: int, holding: int) -> float:
    return math.log(1 + (passages + 1) / (holding + 0.5))


def _specificity(question: str) -> dict[str, float]:
    found = content_words(question)
    stems = _stems([match.group().lower() for match in found])
    weights: dict[str, float] = {}
    for match, stem in zip(found, stems, strict=True):
        weights[stem] = max(weights.get(stem, 0.0), _weight(match.group(), opens=not match.start()))
    return weights


def _weight(word: str, *, opens: bool) -> float:
    """A capital says nothing at the start of a sentence."""
    names = word[0].isupper() and not opens
    return SPECIFIC_WEIGHT if names or any(map(str.isdigit, word)) else 1.0


def _stems(plain_words: list[str]) -> list[str]:
    stems: list[str] = SnowballStemmer("english").stem_words(plain_words)
    return stems
