"""A vector index in memory, as plain as it can be: every call is one step that nothing can come in between of."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np

from services.retriever import payload
from services.retriever.conditions import search_scope, span_scope
from services.retriever.filters import Between
from services.retriever.fusion import ranked
from services.retriever.index import (
    ChunkIdPage,
    ChunkPoint,
    DocumentSpan,
    Fence,
    FencedHits,
    FencePage,
    Hit,
    IndexDescription,
    IndexQuery,
    IndexUnavailable,
    InvalidPoint,
    RevisionPage,
    SparseVector,
    Vector,
    fence_names,
)
from services.retriever.revision_pages import PointRow, page_of, page_of_one

Stored = Mapping[str, Any]
Condition = Callable[[Stored], bool]
ItemT = TypeVar("ItemT")
Key = tuple[str, str]
PLAIN_METADATA: Final = (str, int, float, list)


class MemoryConditions:
    """Implements Conditions on what a point stores beside its vectors."""

    def equals(self, key: str, value: str | int) -> Condition:
        return self.any_of(key, [value])

    def any_of(self, key: str, values: Sequence[str | int]) -> Condition:
        return lambda stored: any(each in values for each in _elements(stored.get(key)))

    def within(self, bounds: Between) -> Condition:
        return lambda stored: any(_lies_within(each, bounds) for each in _elements(_field(stored, bounds.field)))

    def all(self, conditions: list[Condition]) -> Condition:
        return lambda stored: all(condition(stored) for condition in conditions)

    def any(self, conditions: list[Condition]) -> Condition:
        return lambda stored: any(condition(stored) for condition in conditions)

    def none(self, conditions: list[Condition]) -> Condition:
        return lambda stored: not any(condition(stored) for condition in conditions)


def _field(stored: Stored, path: str) -> Any:
    name = path.removeprefix('metadata."')
    return stored.get(path) if name == path else stored["metadata"].get(name.removesuffix('"'))


MAKE: Final = MemoryConditions()


class MemoryIndex:
    """Implements VectorIndex; what it holds is there to be looked at, as `points` by chunk id and `raised`."""

    def __init__(self, *, dimension: int, fingerprint: str) -> None:
        self.points: dict[str, ChunkPoint] = {}
        self.raised: dict[Key, Fence] = {}
        self._dimension = dimension
        self._fingerprint = fingerprint
        self._closed = False

    async def upsert(self, points: Sequence[ChunkPoint]) -> None:
        self._require_open()
        payload.check_points(points, self._dimension, self._fingerprint)
        for point in points:
            if not all(isinstance(value, PLAIN_METADATA) for value in point.metadata.values()):
                raise InvalidPoint(f"{payload.name_of(point)} has metadata that cannot be stored")
        self.points |= {point.chunk_id: replace(point, vector=_unit(point.vector)) for point in points}

    async def search(self, query: IndexQuery) -> list[Hit]:
        self._require_open()
        payload.check_query(query, self._dimension, self._fingerprint)
        scope = MAKE.all(search_scope(MAKE, query.tenant, query.collection, query.filter, query.floors))
        stored = {each: payload.chunk_payload(point) for each, point in self.points.items()}
        found = [each for each in self.points if scope(stored[each])]
        cosines = self._cosines(query, found)
        words = _best(self._words(query, found), query.depth) if query.ranks_by_words else {}
        if not query.ranks_by_meaning:
            candidates = {each: cosines[each] for each in words if each in cosines}
        else:
            nearest = _best(cosines, query.depth)
            candidates = {each: cosines[each] for each in {**nearest, **words}}
        scores = ranked(query, candidates, words)
        return [payload.read_hit(each, stored[each], score, cosines.get(each)) for each, score in scores.items()]

    async def search_fenced(self, query: IndexQuery) -> FencedHits:
        hits = await self.search(query)
        return FencedHits(hits, await self.fences(query.tenant, fence_names(hits)))

    async def passages(self, span: DocumentSpan, limit: int) -> list[Hit]:
        self._require_open()
        wanted = MAKE.all(span_scope(MAKE, span))
        stored = {each: payload.chunk_payload(point) for each, point in self.points.items()}
        return payload.in_order(payload.read_hit(each, one, 0.0, None) for each, one in stored.items() if wanted(one))[
            :limit
        ]

    async def raise_fence(
        self, tenant: str, document_id: str, *, visible: int | None = None, floor: int | None = None
    ) -> None:
        self._require_open()
        key = (tenant, document_id)
        raised = Fence(tenant, document_id, visible or 0, floor or 0)
        self.raised[key] = self.raised.get(key, Fence(tenant, document_id)).raised_to(raised)

    async def fences(self, tenant: str, document_ids: Collection[str]) -> dict[str, Fence]:
        self._require_open()
        return {each: self.raised[tenant, each] for each in document_ids if (tenant, each) in self.raised}

    async def remove_revisions(self, tenant: str, document_id: str, below: int) -> None:
        self._remove(tenant, document_id, lambda revision: revision < below)

    async def remove_revision(self, tenant: str, document_id: str, revision: int) -> None:
        self._remove(tenant, document_id, lambda stored: stored == revision)

    async def collections_of(self, tenant: str, document_id: str) -> set[str]:
        self._require_open()
        document = (tenant, document_id)
        return {each.collection for each in self.points.values() if (each.tenant, each.document_id) == document}

    async def count(self, tenant: str | None = None, collection: str | None = None) -> int:
        self._require_open()
        return sum(
            tenant in (None, point.tenant) and collection in (None, point.collection) for point in self.points.values()
        )

    async def document_revisions(self, after: int = 0, limit: int = 1_000) -> RevisionPage:
        self._require_open()
        later = [point for point in self.points.values() if point.revision > after]
        rows = sorted(PointRow(point.revision, point.tenant, point.document_id) for point in later)
        page = page_of(rows[:limit], limit)
        if page is not None:
            return page
        first: dict[str, Counter[str]] = {}
        for row in rows:
            if row.revision == rows[0].revision:
                first.setdefault(row.tenant, Counter())[row.document_id] += 1
        return page_of_one(rows[0].revision, first)

    async def chunk_ids(self, start: str | None = None, limit: int = 1_000) -> ChunkIdPage:
        self._require_open()
        return ChunkIdPage(*_page({each: each for each in self.points}, start, limit))

    async def fence_page(self, start: str | None = None, limit: int = 1_000) -> FencePage:
        self._require_open()
        return FencePage(*_page({"\n".join(key): fence for key, fence in self.raised.items()}, start, limit))

    async def present(self, chunk_ids: Sequence[str]) -> set[str]:
        self._require_open()
        return {each for each in chunk_ids if each in self.points}

    async def chunks(self, chunk_ids: Sequence[str]) -> list[ChunkPoint]:
        return [self.points[each] for each in await self.present(chunk_ids)]

    async def size_bytes(self) -> int | None:
        return None

    async def describe(self) -> IndexDescription:
        self._require_open()
        return IndexDescription("memory", "1", len(self.points), self._dimension, self._fingerprint)

    async def close(self) -> None:
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise IndexUnavailable("the index in memory is closed")

    def _remove(self, tenant: str, document_id: str, goes: Callable[[int], bool]) -> None:
        self._require_open()
        document = (tenant, document_id)
        self.points = {
            each: point
            for each, point in self.points.items()
            if (point.tenant, point.document_id) != document or not goes(point.revision)
        }

    def _cosines(self, query: IndexQuery, chunk_ids: Sequence[str]) -> dict[str, float]:
        if query.vector is None:
            return {}
        wanted = _unit(query.vector)
        return {each: float(self.points[each].vector @ wanted) for each in chunk_ids}

    def _words(self, query: IndexQuery, chunk_ids: Sequence[str]) -> dict[str, float]:
        """Return the sum of weights by rarity with the tenant, for the points that share a word."""
        assert query.sparse is not None
        tenants = [_weights(point.sparse) for point in self.points.values() if point.tenant == query.tenant]
        known = Counter(term for weights in tenants for term in weights)
        rarity = {term: math.log(1 + (len(tenants) - number + 0.5) / (number + 0.5)) for term, number in known.items()}
        scores = {}
        for each in chunk_ids:
            weights = _weights(self.points[each].sparse)
            shared = {term: weight for term, weight in _weights(query.sparse).items() if term in weights}
            if shared:
                scores[each] = sum(weight * weights[term] * rarity[term] for term, weight in shared.items())
        return scores


def _page(items: Mapping[str, ItemT], start: str | None, limit: int) -> tuple[tuple[ItemT, ...], str | None]:
    order = sorted(items)
    first = bisect_left(order, start) if start is not None else 0
    page, rest = order[first : first + limit], order[first + limit :]
    return tuple(items[each] for each in page), rest[0] if rest else None


def _best(scores: Mapping[str, float], number: int) -> dict[str, float]:
    return dict(sorted(scores.items(), key=lambda item: -item[1])[:number])


def _weights(vector: SparseVector | None) -> dict[int, float]:
    return dict(zip(vector.indices, vector.values, strict=True)) if vector is not None else {}


def _unit(vector: Vector) -> Vector:
    length = np.linalg.norm(vector)
    return vector if length == 0 else (vector / length).astype(np.float32)


def _elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _lies_within(value: Any, bounds: Between) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (
        (bounds.gte is None or value >= bounds.gte)
        and (bounds.gt is None or value > bounds.gt)
        and (bounds.lte is None or value <= bounds.lte)
        and (bounds.lt is None or value < bounds.lt)
    )
