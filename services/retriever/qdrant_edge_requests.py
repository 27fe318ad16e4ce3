"""What the index stores and asks, as requests to Qdrant's embedded engine."""

from typing import Any, Final, TypeAlias, cast

import numpy as np
import qdrant_edge as engine

from services.retriever import conditions, payload
from services.retriever.filters import Between
from services.retriever.index import ChunkPoint, Fence, IndexQuery, InvalidPoint, SparseVector

_Condition: TypeAlias = "engine.ConditionType"


class EdgeConditions:
    """Implements Conditions."""

    def equals(self, key: str, value: str | int) -> _Condition:
        return engine.FieldCondition(key, match=engine.MatchValue(value))

    def any_of(self, key: str, values: list[str]) -> _Condition:
        return engine.FieldCondition(key, match=engine.MatchAny(values))

    def within(self, bounds: Between) -> _Condition:
        limits = engine.RangeFloat(gte=bounds.gte, gt=bounds.gt, lte=bounds.lte, lt=bounds.lt)
        return engine.FieldCondition(bounds.field, range=limits)

    def all(self, conditions: list[_Condition]) -> _Condition:
        return engine.Filter(must=conditions)

    def any(self, conditions: list[_Condition]) -> _Condition:
        return engine.Filter(should=conditions)

    def none(self, conditions: list[_Condition]) -> _Condition:
        return engine.Filter(must_not=conditions)


MAKE: Final = EdgeConditions()


def chunk_point(point: ChunkPoint) -> engine.Point:
    """Return the point of a chunk; raises InvalidPoint for what the engine refuses."""
    try:
        vectors: dict[str, list[float] | engine.SparseVector] = {payload.DENSE: point.vector.tolist()}
        if point.sparse is not None and point.sparse.indices:
            vectors[payload.SPARSE] = _sparse(point.sparse)
        return engine.Point(point.chunk_id, cast("engine.Vector", vectors), payload.chunk_payload(point))
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidPoint(f"{payload.name_of(point)} cannot be stored: {error}") from error


def fence_point(point_id: str, fence: Fence) -> engine.Point:
    """Return the point of a fence."""
    return engine.Point(point_id, {}, payload.fence_payload(fence))


def _sparse(vector: SparseVector) -> engine.SparseVector:
    return engine.SparseVector(list(vector.indices), list(vector.values))


def read_point(record: engine.Record) -> ChunkPoint:
    """Return the chunk that a stored point says, with its vectors."""
    vectors: dict[str, Any] = record.vector if isinstance(record.vector, dict) else {}
    sparse = vectors.get(payload.SPARSE)
    words = SparseVector(tuple(sparse.indices), tuple(sparse.values)) if sparse is not None else None
    dense = np.asarray(vectors[payload.DENSE], dtype=np.float32)
    return payload.read_point(str(record.id), record.payload or {}, dense, words)


def by_meaning(query: IndexQuery) -> engine.QueryRequest:
    """Return the request for the points nearest to the query's dense vector."""
    return engine.QueryRequest(query.depth, query=_dense_query(query), filter=_scope(query))


def by_words(query: IndexQuery) -> engine.QueryRequest:
    """Return the request for the points that share the query's words."""
    assert query.sparse is not None
    words = engine.Query.Nearest(_sparse(query.sparse), payload.SPARSE)
    return engine.QueryRequest(query.depth, query=words, filter=_scope(query), params=_idf_of_tenant(query))


def cosines_of(query: IndexQuery, point_ids: list[str]) -> engine.QueryRequest:
    """Return the request for the similarity of these points to the query's dense vector."""
    these = engine.Filter(must=[engine.HasIdCondition(set(point_ids))])
    return engine.QueryRequest(len(point_ids), query=_dense_query(query), filter=these)


def _scope(query: IndexQuery) -> engine.Filter:
    scope = conditions.search_scope(MAKE, query.tenant, query.collection, query.filter, query.floors)
    return engine.Filter(must=scope)


def _dense_query(query: IndexQuery) -> engine.Query:
    assert query.vector is not None
    return engine.Query.Nearest(query.vector.tolist(), payload.DENSE)


def _idf_of_tenant(query: IndexQuery) -> engine.SearchParams:
    """Weigh terms by how rare they are with this tenant, so that no score tells of another tenant's texts."""
    return engine.SearchParams(
        idf=engine.IdfParams(engine.Filter(must=[MAKE.equals(payload.TENANT_FIELD, query.tenant)]))
    )
