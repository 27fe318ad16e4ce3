"""What the index stores and asks, as requests to a Qdrant server."""

from typing import Any, Final

from qdrant_client import models

from services.retriever import conditions, payload
from services.retriever.filters import Between
from services.retriever.index import ChunkPoint, Fence, Hit, IndexQuery, InvalidPoint, SearchMode, SparseVector


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


def query_arguments(query: IndexQuery) -> dict[str, Any]:
    """Return the arguments of `query_points`."""
    scope = models.Filter(must=conditions.search_scope(MAKE, query.tenant, query.collection, query.filter))
    fields = models.PayloadSelectorExclude(exclude=payload.FIELDS_OF_NO_HIT)
    shared: dict[str, Any] = {"limit": query.limit, "with_payload": fields}
    if query.mode == SearchMode.DENSE:
        return shared | _dense(query) | {"query_filter": scope}
    shared["with_vectors"] = [payload.DENSE] if query.vector is not None else False
    if query.mode == SearchMode.SPARSE:
        return shared | _by_words(query) | {"query_filter": scope, "search_params": _idf_of_tenant(query)}
    depth = max(query.candidates, query.limit)
    rankings = [models.Prefetch(**_dense(query), filter=scope, limit=depth)]
    if query.has_terms:
        by_words = models.Prefetch(**_by_words(query), filter=scope, limit=depth, params=_idf_of_tenant(query))
        rankings.append(by_words)
    return shared | {"prefetch": rankings, "query": models.RrfQuery(rrf=models.Rrf(k=query.rrf_k))}


def read_hit(point: models.ScoredPoint, query: IndexQuery) -> Hit:
    """Return the hit that a found point says."""
    stored = point.vector.get(payload.DENSE) if isinstance(point.vector, dict) else None
    similarity = point.score if query.mode == SearchMode.DENSE else payload.similarity(query.vector, stored)
    return payload.read_hit(str(point.id), point.payload or {}, point.score, similarity)


def _dense(query: IndexQuery) -> dict[str, Any]:
    assert query.vector is not None
    return {"query": query.vector.tolist(), "using": payload.DENSE}


def _by_words(query: IndexQuery) -> dict[str, Any]:
    assert query.sparse is not None
    return {"query": _sparse(query.sparse), "using": payload.SPARSE}


def _idf_of_tenant(query: IndexQuery) -> models.SearchParams:
    """Weigh terms by how rare they are with this tenant, so that no score tells of another tenant's texts."""
    tenant = models.Filter(must=[MAKE.equals(payload.TENANT_FIELD, query.tenant)])
    return models.SearchParams(idf=models.IdfCorpusParams(corpus=tenant))
