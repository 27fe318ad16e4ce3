"""What the index does, on one open shard of Qdrant's embedded engine: plain blocking calls."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import qdrant_edge as engine

from services.retriever import conditions, payload
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
    IndexQuery,
    IndexUnavailable,
    RevisionPage,
    fence_names,
)
from services.retriever.qdrant_edge_requests import (
    MAKE,
    by_meaning,
    by_words,
    chunk_point,
    cosines_of,
    fence_point,
    read_point,
)
from services.retriever.revision_pages import MAX_SHARING_A_REVISION, page_of, page_of_one

# Each is lost to a removal within the millisecond between ranking and reading.
MAX_SEARCHES = 5


class QdrantEdgeShard:
    """One open shard; every call may raise IndexUnavailable, which carries what the engine said."""

    def __init__(self, shard: engine.EdgeShard, flush_every_points: int) -> None:
        self._shard = shard
        self._flush_every_points = flush_every_points
        self._unflushed_points = 0

    def upsert(self, points: Sequence[ChunkPoint]) -> None:
        """Store points in one logged operation; raises InvalidPoint, storing none, for one the engine refuses."""
        self._update(engine.UpdateOperation.upsert_points([chunk_point(point) for point in points]))
        self._unflushed_points += len(points)
        if self._unflushed_points >= self._flush_every_points:
            # Only a flush lets the engine drop old log files, and a restart after a kill replays what they hold: about
            # a second for 40,000 points. It waits for the disk with the process stopped (20 to 400 ms), so it is rare.
            self.flush()

    def raise_fences(self, wanted: Sequence[Fence]) -> None:
        """Lift the stored fences to at least these; correct only while this is the single writer."""
        by_id = {
            payload.fence_point_id(fence.tenant, fence.document_id): Fence(fence.tenant, fence.document_id)
            for fence in wanted
        }
        stored = self._stored_fences(list(by_id))
        raised = by_id | stored
        for fence in wanted:
            point_id = payload.fence_point_id(fence.tenant, fence.document_id)
            raised[point_id] = raised[point_id].raised_to(fence)
        points = [fence_point(point_id, fence) for point_id, fence in raised.items() if stored.get(point_id) != fence]
        if points:
            self._update(engine.UpdateOperation.upsert_points(points))

    def remove(self, tenant: str, document_id: str, bounds: Between) -> None:
        """Delete the document's chunk points with a revision within the bounds."""
        scope = [*conditions.document_scope(MAKE, tenant, document_id), MAKE.within(bounds)]
        self._update(engine.UpdateOperation.delete_points_by_filter(engine.Filter(must=scope)))

    def search(self, query: IndexQuery) -> list[Hit]:
        """Return hits, best first: points are ranked by their ids alone, and only those that answer are read.

        A write may come between the two. When it removed what was ranked, what took its place was not ranked yet: then
        the search is made again.
        """
        for _ in range(MAX_SEARCHES - 1):
            hits, complete = self._search(query)
            if complete:
                return hits
        return self._search(query)[0]

    def search_fenced(self, query: IndexQuery) -> FencedHits:
        """Return what `search` does, and then the fences that decide about it."""
        hits = self.search(query)
        return FencedHits(hits, self.fences(query.tenant, fence_names(hits)) if hits else {})

    def _search(self, query: IndexQuery) -> tuple[list[Hit], bool]:
        words = self._scores(by_words(query)) if query.ranks_by_words else {}
        cosines = self._scores(by_meaning(query)) if query.ranks_by_meaning else {}
        unknown = [each for each in words if each not in cosines]
        if unknown and query.vector is not None:
            cosines |= self._scores(cosines_of(query, unknown))
        scores = ranked(query, cosines, words)
        found = self._payloads(list(scores))
        hits = [
            payload.read_hit(each, found[each], score, cosines.get(each))
            for each, score in scores.items()
            if each in found
        ]
        return hits, len(hits) == len(scores)

    def passages(self, span: DocumentSpan, limit: int) -> list[Hit]:
        """Return chunks of a part of a document."""
        fields = engine.PayloadSelector.Exclude(payload.FIELDS_OF_NO_HIT)
        scope = engine.Filter(must=conditions.span_scope(MAKE, span))
        with _engine_failures("read a document"):
            records, _ = self._shard.scroll(
                engine.ScrollRequest(limit=limit, filter=scope, with_payload=fields, with_vector=False)
            )
        return payload.in_order(payload.read_hit(str(each.id), each.payload or {}, 0.0, None) for each in records)

    def fences(self, tenant: str, document_ids: Collection[str]) -> dict[str, Fence]:
        """Return the fences of those documents that have one."""
        stored = self._stored_fences([payload.fence_point_id(tenant, each) for each in document_ids])
        return {fence.document_id: fence for fence in stored.values()}

    def count(self, tenant: str | None, collection: str | None) -> int:
        """Return the exact number of chunk points."""
        scope = engine.Filter(must=conditions.count_scope(MAKE, tenant, collection))
        with _engine_failures("count"):
            return self._shard.count(engine.CountRequest(exact=True, filter=scope))

    def document_revisions(self, after: int, limit: int) -> RevisionPage:
        """Return a page of what all tenants have above a revision."""
        scope = engine.Filter(must=conditions.revision_scope(MAKE, None, conditions.revisions(above=after)))
        order = engine.OrderBy(payload.REVISION_FIELD, engine.Direction.Asc)
        with _engine_failures("list revisions"):
            records, _ = self._shard.scroll(
                engine.ScrollRequest(limit=limit, filter=scope, with_payload=payload.ROW_FIELDS, order_by=order)
            )
        rows = [payload.read_row(record.payload or {}) for record in records]
        return page_of(rows, limit) or self._page_of_one(rows[0].revision)

    def collections_of(self, tenant: str, document_id: str) -> set[str]:
        """Return the collections in which any revision of the document has points."""
        return set(self._count_by("collection", conditions.document_scope(MAKE, tenant, document_id)))

    def _page_of_one(self, revision: int) -> RevisionPage:
        tenants = self._count_by(payload.TENANT_FIELD, _scope_of_one(None, revision))
        return page_of_one(
            revision, {tenant: self._count_by("document_id", _scope_of_one(tenant, revision)) for tenant in tenants}
        )

    def _count_by(self, field: str, scope: "list[engine.ConditionType]") -> dict[str, int]:
        request = engine.FacetRequest(field, limit=MAX_SHARING_A_REVISION, exact=True, filter=engine.Filter(must=scope))
        with _engine_failures("count points"):
            answer = self._shard.facet(request)
        return {str(each.value): each.count for each in answer.hits}

    def chunk_ids(self, start: str | None, limit: int) -> ChunkIdPage:
        """Return a page of the ids of all chunks."""
        records, following = self._scroll(conditions.count_scope(MAKE, None, None), start, limit, with_payload=False)
        return ChunkIdPage(tuple(str(record.id) for record in records), following)

    def fence_page(self, start: str | None, limit: int) -> FencePage:
        """Return a page of all fences."""
        records, following = self._scroll(conditions.fence_scope(MAKE), start, limit, with_payload=True)
        return FencePage(tuple(payload.read_fence(record.payload or {}) for record in records), following)

    def present(self, chunk_ids: Sequence[str]) -> set[str]:
        """Return which of these chunks are stored."""
        with _engine_failures("look up chunks"):
            records = self._shard.retrieve(list(chunk_ids), with_payload=False, with_vector=False)
        return {str(record.id) for record in records}

    def chunks(self, chunk_ids: Sequence[str]) -> list[ChunkPoint]:
        """Return those of these chunks that are stored, with their vectors."""
        with _engine_failures("read chunks"):
            records = self._shard.retrieve(list(chunk_ids), with_payload=True, with_vector=True)
        return [read_point(record) for record in records]

    def flush(self) -> None:
        """Write everything to the data files; until then it is in the log."""
        with _engine_failures("flush"):
            self._shard.flush()
        self._unflushed_points = 0

    def close(self) -> None:
        """Flush and let go of the files."""
        self.flush()
        self._shard.close()

    def _scores(self, request: engine.QueryRequest) -> dict[str, float]:
        with _engine_failures("search"):
            return {str(point.id): point.score for point in self._shard.query(request)}

    def _payloads(self, point_ids: list[str]) -> dict[str, dict[str, Any]]:
        """Return what the points hold; one that was removed since it was ranked is left out."""
        fields = engine.PayloadSelector.Exclude(payload.FIELDS_OF_NO_HIT)
        with _engine_failures("search"):
            records = self._shard.retrieve(list(point_ids), with_payload=fields, with_vector=False)
        return {str(record.id): record.payload or {} for record in records}

    def _update(self, operation: engine.UpdateOperation) -> None:
        with _engine_failures("write"):
            self._shard.update(operation)

    def _scroll(
        self, scope: "list[engine.ConditionType]", start: str | None, limit: int, *, with_payload: bool
    ) -> tuple[list[engine.Record], str | None]:
        request = engine.ScrollRequest(start, limit, engine.Filter(must=scope), with_payload, with_vector=False)
        with _engine_failures("list points"):
            records, following = self._shard.scroll(request)
        return records, None if following is None else str(following)

    def _stored_fences(self, point_ids: list[str]) -> dict[str, Fence]:
        with _engine_failures("read fences"):
            records = self._shard.retrieve(list(point_ids), with_payload=True, with_vector=False)
        return {str(record.id): payload.read_fence(record.payload or {}) for record in records}


def _scope_of_one(tenant: str | None, revision: int) -> "list[engine.ConditionType]":
    return conditions.revision_scope(MAKE, tenant, conditions.only_revision(revision))


@contextmanager
def _engine_failures(action: str) -> Iterator[None]:
    """Name what failed; a panic of the engine arrives as a bare BaseException and must not end the thread."""
    try:
        yield
    except BaseException as error:
        raise IndexUnavailable(f"the embedded index could not {action}: {error}") from error
