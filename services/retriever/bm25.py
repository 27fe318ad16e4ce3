"""Texts as BM25 term weights (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009).

A chunk holds its terms' saturated frequencies and a query each of its terms once; the index multiplies both with the
terms' inverse document frequency among the tenant's chunks. A term is a stemmed word that is no English stop word;
of scripts that set no spaces between words, and of Korean, whose words take endings, it is a pair of neighbouring
characters.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final

from py_rust_stemmers import SnowballStemmer

from services.retriever.index import SparseVector

# The values of Lucene and Elasticsearch.
K1: Final = 1.2
B: Final = 0.75
# Terms of a chunk that is neither long nor short. A true average changes with every document, and with it would every
# weight that is stored; chunks have a bounded size, so a constant does as well.
AVERAGE_TERMS: Final = 128
# A query is text from outside, and the index looks up every term of it.
MAX_QUERY_TERMS: Final = 256
# What is longer is an encoded blob, which nobody types.
_MAX_TERM_CHARACTERS: Final = 64
_REMEMBERED_WORDS: Final = 100_000

# Thai, Lao, Burmese, Khmer, kana, ideographs, Hangul.
_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
# Vowel signs and points, which Python's \w leaves out.
_MARKS: Final = (
    "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0981-\u0983\u09bc-\u09cd\u0b82-\u0bcd"
)
_LETTERS: Final = rf"(?:[^\W_{_UNSPACED}]|[{_MARKS}])+"
_WORDS: Final = re.compile(rf"[{_UNSPACED}]+|{_LETTERS}(?:['\u2019]{_LETTERS})*")
_IS_UNSPACED: Final = re.compile(rf"[{_UNSPACED}]")
# Accents of Latin letters only: in other scripts such marks are letters of their own.
_LATIN_ACCENTS: Final = re.compile(r"(?<=[A-Za-z])[\u0300-\u036f]+")
# Function words, and the question words by which people address a search.
_STOPPED: Final = (
    "a an and are as at be but by can did do does for from had has have he her his how i if in into is it its no not of"
    " on or s she such t that the their them then there these they this to was we were what when where which who whom"
    " why will with you your"
)
_STOP_WORDS: Final = frozenset(_STOPPED.split())


def chunk_terms(text: str) -> SparseVector:
    """Return a chunk's terms, weighted tf (k1 + 1) / (tf + k1 (1 - b + b n / average)) for n terms in all."""
    counts = Counter(map(_index_of, terms(text)))
    norm = K1 * (1 - B + B * counts.total() / AVERAGE_TERMS)
    return SparseVector(tuple(counts), tuple(tf * (K1 + 1) / (tf + norm) for tf in counts.values()))


def query_terms(text: str) -> SparseVector:
    """Return the first 256 different terms of a query, weighted 1 each; empty when it has stop words only."""
    indices = list(dict.fromkeys(map(_index_of, terms(text))))[:MAX_QUERY_TERMS]
    return SparseVector(tuple(indices), (1.0,) * len(indices))


def terms(text: str) -> Iterator[str]:
    """Yield the terms of a text in their order."""
    for word in _WORDS.findall(_folded(text)):
        if _IS_UNSPACED.match(word):
            yield from _pairs(word)
        elif word not in _STOP_WORDS:
            yield _stem(word[:_MAX_TERM_CHARACTERS])


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", _LATIN_ACCENTS.sub("", decomposed)).casefold()


def _pairs(run: str) -> Iterable[str]:
    return [run] if len(run) == 1 else map("".join, pairwise(run))


@lru_cache(maxsize=_REMEMBERED_WORDS)
def _stem(word: str) -> str:
    stem: str = _STEMMER.stem_word(word.replace("\u2019", "'"))
    return stem


@lru_cache(maxsize=_REMEMBERED_WORDS)
def _index_of(term: str) -> int:
    """Return a term's place among 2^32; of a million terms some hundred pairs share one."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest(), "little")


_STEMMER: Final = SnowballStemmer("english")
