"""Making one ranking of two: by meaning (cosine) and by words (BM25)."""

from collections.abc import Mapping
from typing import Final

from services.retriever.index import IndexQuery

# Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet", SIGIR 2009.
RRF_K: Final = 60


def ranked(query: IndexQuery, cosines: Mapping[str, float], words: Mapping[str, float]) -> dict[str, float]:
    """Return the scores that answer a query, best first, at most `query.limit` of them."""
    scores = fuse(cosines, words, query.words_weight) if query.ranks_by_meaning else words
    return dict(list(scores.items())[: query.limit])


def fuse(cosines: Mapping[str, float], words: Mapping[str, float], words_weight: float | None) -> dict[str, float]:
    """Return each candidate's score, best first; `cosines` knows every candidate, `words` those that share a word.

    With a weight, which belongs to the embedding model's scale, a score is cosine + weight * BM25 / best BM25: it
    keeps how much better one candidate is than the next. Without one it is the sum of 1 / (60 + rank).
    """
    best = max(words.values(), default=0.0)
    if best <= 0:
        scores: Mapping[str, float] = cosines
    elif words_weight is None:
        scores = _by_rank(cosines, words)
    else:
        scores = {each: cosine + words_weight * words.get(each, 0.0) / best for each, cosine in cosines.items()}
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def _by_rank(*rankings: Mapping[str, float]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, each in enumerate(sorted(ranking, key=lambda each: -ranking[each]), start=1):
            scores[each] = scores.get(each, 0.0) + 1 / (RRF_K + rank)
    return scores
