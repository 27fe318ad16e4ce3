"""The instruments of the retriever: how searches go, and how large the index is."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from contracts.retrieval import RetrieveReply, RetrieveRequest
from services.retriever.generations import Generations
from shared.errors import Rejected
from shared.logs import get_logger
from shared.metrics import SECONDS

log = get_logger(__name__)

LOOK_SECONDS: Final = 5.0
# Counting may take at most this share of the time, however large the index.
_SHARE: Final = 0.05
_Labels = dict[str, str | bool]


class Retrieve(Protocol):
    """Answers requests."""

    async def retrieve(self, request: RetrieveRequest, deadline: float | None) -> RetrieveReply:
        """Return the chunks that fit best."""
        ...


class SearchMetrics:
    """How long searches take, by ranking and outcome."""

    def __init__(self, meter: Meter) -> None:
        self._duration = meter.create_histogram(
            "rag.searches.duration",
            unit="s",
            description="Time of a search in the retriever.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )

    async def retrieve(self, search: Retrieve, request: RetrieveRequest, deadline: float | None) -> RetrieveReply:
        """Return what the search returns, and record how it went; what is asked for in vain is no failure."""
        started, outcome = time.perf_counter(), "failed"
        try:
            reply = await search.retrieve(request, deadline)
            outcome = "ok"
            return reply
        except Rejected:
            outcome = "rejected"
            raise
        finally:
            labels: dict[str, str | bool] = {
                "rag.mode": str(request.mode),
                "rag.outcome": outcome,
                "rag.rerank": request.rerank,
            }
            self._duration.record(time.perf_counter() - started, labels)


@dataclass(frozen=True, slots=True)
class IndexSize:
    """How many chunks there are, and how many bytes on disk; None where a server keeps them."""

    points: int
    size_bytes: int | None


class IndexGauges:
    """How large the index that is searched was when it was looked at last; nothing before that."""

    def __init__(self, meter: Meter) -> None:
        self._found: IndexSize | None = None
        meter.create_observable_gauge(
            "rag.index.points", [self._points], unit="{point}", description="Chunks in the index that is searched."
        )
        meter.create_observable_gauge(
            "rag.index.size", [self._size], unit="By", description="Size of the index on disk."
        )

    async def keep_looking(self, generations: Generations) -> None:
        """Look for ever; an index that cannot be read shows no size rather than an old one."""
        while True:
            started = time.monotonic()
            try:
                index = generations.active.index
                self._found = IndexSize(await index.count(), await index.size_bytes())
            except Exception as error:  # Whatever it was, the next look must come.
                self._found = None
                log.warning("index_size_unknown", error=type(error).__name__)
            await asyncio.sleep(max(LOOK_SECONDS, (time.monotonic() - started) / _SHARE))

    def _points(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(self._found.points)] if self._found is not None else []

    def _size(self, _options: CallbackOptions) -> Iterable[Observation]:
        found = self._found
        return [Observation(found.size_bytes)] if found is not None and found.size_bytes is not None else []
