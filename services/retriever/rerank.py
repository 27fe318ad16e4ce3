"""Reading query and passage together: slower than comparing vectors, so only the first hits, and only for so long."""

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from services.retriever.index import Hit


class CrossEncoder(Protocol):
    """A model that judges how well a passage answers a query."""

    def score(self, query: str, passage: str) -> float:
        """Return the logit of relevance; blocks for as long as one run of the model takes."""
        ...


class OutOfTime(Exception):
    """The budget was spent before every candidate had been read."""


class Reranker:
    """Reorders the first `candidates` hits of a search within `budget_seconds`, waiting for its turn included.

    One thread reads for all searches: a second one would take the cores from the embedder's queries.
    """

    def __init__(self, model: CrossEncoder, *, candidates: int, budget_seconds: float) -> None:
        self.candidates = candidates
        self._model = model
        self._budget_seconds = budget_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rerank")

    async def rerank(self, query: str, hits: Sequence[Hit], deadline: float | None) -> list[Hit] | None:
        """Return the hits in their new order, or None when the time did not suffice.

        `deadline` is in unix seconds. A score is the probability that the model gives; hits behind the candidates
        keep their order and score 0.
        """
        budget = min(self._budget_seconds, math.inf if deadline is None else deadline - time.time())
        given_up = threading.Event()
        until = time.monotonic() + budget
        reading = asyncio.get_running_loop().run_in_executor(
            self._thread, self._scores, query, hits[: self.candidates], until, given_up
        )
        try:
            scores = await asyncio.wait_for(reading, max(0.0, budget))
        except (TimeoutError, OutOfTime):
            return None
        finally:
            given_up.set()
        judged = [replace(hit, score=score) for hit, score in zip(hits, scores, strict=False)]
        rest = [replace(hit, score=0.0) for hit in hits[self.candidates :]]
        return sorted(judged, key=lambda hit: -hit.score) + rest

    def close(self) -> None:
        """Let the pair that is being read finish, and read no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _scores(self, query: str, hits: Sequence[Hit], until: float, given_up: threading.Event) -> list[float]:
        found = []
        for hit in hits:
            if given_up.is_set() or time.monotonic() >= until:
                raise OutOfTime
            found.append(_probability(self._model.score(query, _passage(hit))))
        return found


def _passage(hit: Hit) -> str:
    return f"{hit.title}. {hit.text}" if hit.title else hit.text


def _probability(logit: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))
