"""Near copies of a chunk within one document, such as a page that stands in it twice: the best one answers."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from services.retriever.index import Hit

# Share of common words, of all words of both, from which two chunks say the same.
SAME_WORDS: Final = 0.9

Words = frozenset[str]


def without_near_copies(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """Return the first `limit` hits in their order, without those that repeat an earlier one of the same document."""
    kept: list[Hit] = []
    seen: dict[str, list[Words]] = {}
    chunks = Counter(hit.document_id for hit in hits)
    for hit in hits:
        of_document = seen.setdefault(hit.document_id, [])
        # Most documents answer with one chunk, which has nothing to be compared with.
        words = _words(hit) if chunks[hit.document_id] > 1 else frozenset()
        if not any(_near(words, other) for other in of_document):
            of_document.append(words)
            kept.append(hit)
        if len(kept) == limit:
            break
    return kept


def _words(hit: Hit) -> Words:
    return frozenset(hit.text.lower().split())


def _near(words: Words, other: Words) -> bool:
    smaller, larger = sorted((len(words), len(other)))
    if smaller == 0 or smaller < SAME_WORDS * larger:
        return False
    common = len(words & other)
    return common >= SAME_WORDS * (smaller + larger - common)
