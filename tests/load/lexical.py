"""The yardstick of sparse retrieval: BM25 by bm25s, with Snowball's stemmer and bm25s' English stop words."""

from collections.abc import Sequence
from typing import Any

import bm25s
import Stemmer


class ReferenceBm25:
    """An index in memory over texts, each known by its document; k1 = 1.5, b = 0.75, Lucene's IDF."""

    def __init__(self, documents: Sequence[str], texts: Sequence[str]) -> None:
        self._documents = documents
        self._stemmer = Stemmer.Stemmer("english")
        self._index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        self._index.index(self._tokens(texts), show_progress=False)

    def search(self, query: str, top_k: int) -> list[str]:
        """Return the documents of the best `top_k` texts, best first; a text without any word of the query is none."""
        count = min(top_k, len(self._documents))
        places, scores = self._index.retrieve(self._tokens([query]), k=count, show_progress=False)
        return [self._documents[place] for place, score in zip(places[0], scores[0], strict=True) if float(score) > 0]

    def _tokens(self, texts: Sequence[str]) -> Any:
        return bm25s.tokenize(list(texts), stopwords="en", stemmer=self._stemmer, show_progress=False)
