"""What the index stores and asks, as requests to a Qdrant server."""

from typing import Any, Final

import numpy as np
from qdrant_client import models

from services.retriever import conditions, payload
from services.retriever.filters import Between
from services.retriever.index import ChunkPoint, Fence, IndexQuery, InvalidPoint, SparseVector


class ServerConditions:
    """Implements Conditions."""

    def equals(self, key: str, value: str | int) -> models.Condition:
        return models.FieldCondition(key=key, match=models.MatchValue(value=value))

    def any_of(self, key: str, values: list[str]) -> models.Condition:
        return models.FieldCondition(key=key, match=models.MatchAny(any=values))

    def within(self, bounds: Between) -> models.Condition:
        limits = models.Range(gte=bounds.gte, gt=bounds.gt, lte=bounds.lte, lt=bounds.lt)
        return models.FieldCondition(key=bounds.field, range=limits)

    def all(self, conditions: list[models.Condition]) -> models.Condition:
        return models.Filter(must=conditions)

    def any(self, conditions: list[models.Condition]) -> models.Condition:
        return models.Filter(should=conditions)

    def none(self, conditions: list[models.Condition]) -> models.Condition:
        return models.Filter(must_not=conditions)


MAKE: Final = ServerConditions()


def chunk_struct(point: ChunkPoint) -> models.PointStruct:
    """Return the point of a chunk; raises InvalidPoint for what the client refuses."""
    vectors: dict[str, Any] = {payload.DENSE: point.vector.tolist()}
    if point.sparse is not None and point.sparse.indices:
        vectors[payload.SPARSE] = _sparse(point.sparse)
    try:
        return models.PointStruct(id=point.chunk_id, vector=vectors, payload=payload.chunk_payload(point))
    except (ValueError, TypeError) as error:
        raise InvalidPoint(
            f"chunk {point.chunk_id} of document {point.document_id!r} cannot be stored: {error}"
        ) from error


def _sparse(vector: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=list(vector.indices), values=list(vector.values))


def insert_if_missing(point_id: str, fence: Fence) -> models.UpsertOperation:
    """Return the operation that stores a fence unless the document has one."""
    point = models.PointStruct(id=point_id, vector={}, payload=payload.fence_payload(fence))
    return models.UpsertOperation(upsert=models.PointsList(points=[point], update_mode=models.UpdateMode.INSERT_ONLY))


def lift(point_id: str, name: str, number: int) -> models.SetPayloadOperation:
    """Return the operation that sets one number of a fence where it is lower."""
    lower = models.Filter(
        must=[models.HasIdCondition(has_id=[point_id]), models.FieldCondition(key=name, range=models.Range(lt=number))]
    )
    return models.SetPayloadOperation(set_payload=models.SetPayload(payload={name: number}, filter=lower))


def read_point(record: models.Record) -> ChunkPoint:
    """Return the chunk that a stored point says, with its vectors."""
    vectors: dict[str, Any] = record.vector if isinstance(record.vector, dict) else {}
    sparse = vectors.get(payload.SPARSE)
    words = SparseVector(tuple(sparse.indices), tuple(sparse.values)) if sparse is not None else None
    dense = np.asarray(vectors[payload.DENSE], dtype=np.float32)
    return payload.read_point(str(record.id), record.payload or {}, dense, words)


def by_meaning(query: IndexQuery) -> models.QueryRequest:
    """Return the request for the points nearest to the query's dense vector."""
    return models.QueryRequest(**_dense(query), filter=_scope(query), limit=query.depth)


def by_words(query: IndexQuery) -> models.QueryRequest:
    """Return the request for the points that share the query's words."""
    assert query.sparse is not None
    return models.QueryRequest(
        query=_sparse(query.sparse),
        using=payload.SPARSE,
        filter=_scope(query),
        limit=query.depth,
        params=_idf_of_tenant(query),
    )


def cosines_of(query: IndexQuery, point_ids: list[str]) -> models.QueryRequest:
    """Return the request for the similarity of these points to the query's dense vector."""
    these = models.Filter(must=[models.HasIdCondition(has_id=list(point_ids))])
    return models.QueryRequest(**_dense(query), filter=these, limit=len(point_ids))


def _scope(query: IndexQuery) -> models.Filter:
    scope = conditions.search_scope(MAKE, query.tenant, query.collection, query.filter, query.floors)
    return models.Filter(must=scope)


def _dense(query: IndexQuery) -> dict[str, Any]:
    assert query.vector is not None
    return {"query": query.vector.tolist(), "using": payload.DENSE}


def _idf_of_tenant(query: IndexQuery) -> models.SearchParams:
    """Weigh terms by how rare they are with this tenant, so that no score tells of another tenant's texts."""
    tenant = models.Filter(must=[MAKE.equals(payload.TENANT_FIELD, query.tenant)])
    return models.SearchParams(idf=models.IdfCorpusParams(corpus=tenant))
