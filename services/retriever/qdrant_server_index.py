"""The vector index in a Qdrant server or cluster, shared by every replica of the service."""

import re
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

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
    IndexDescription,
    IndexQuery,
    IndexUnavailable,
    IndexUnreadable,
    ModelMismatch,
    RevisionPage,
    fence_names,
)
from services.retriever.qdrant_server_failures import reaching
from services.retriever.qdrant_server_requests import (
    MAKE,
    by_meaning,
    by_words,
    chunk_struct,
    cosines_of,
    insert_if_missing,
    lift,
    read_point,
)
from services.retriever.revision_pages import MAX_SHARING_A_REVISION, page_of, page_of_one
from services.retriever.stored_names import stored_name

# Insert-only upserts came with 1.17, a tenant's own term statistics with 1.19. An older server ignores both without
# a word; the first would let a fence sink.
OLDEST_SERVER: Final = (1, 19)


class QdrantServerIndex:
    """Implements VectorIndex over an HTTP client that it owns from now on; made by `open`.

    Each model has a collection of its own. With more than one copy of each shard, writes and fences are agreed on by a
    majority, so that a raised fence holds whichever copy answers.
    """

    def __init__(
        self,
        client: AsyncQdrantClient,
        *,
        prefix: str,
        dimension: int,
        fingerprint: str,
        replication_factor: int,
        max_batch_points: int,
    ) -> None:
        self._client = client
        self._collection = stored_name(prefix, fingerprint)
        self._dimension = dimension
        self._fingerprint = fingerprint
        self._replication_factor = replication_factor
        self._agreed = models.ReadConsistencyType.MAJORITY if replication_factor > 1 else None
        self._max_batch_points = max_batch_points
        self._closed = False

    @classmethod
    async def open(
        cls,
        client: AsyncQdrantClient,
        *,
        prefix: str,
        dimension: int,
        fingerprint: str,
        replication_factor: int = 1,
        max_batch_points: int = 256,
    ) -> Self:
        """Return the index of a model, its collection created on first use.

        Raises IndexUnavailable while the server cannot be reached, IndexUnreadable when it is too old, and
        ModelMismatch when the collection holds another dimension.
        """
        index = cls(
            client,
            prefix=prefix,
            dimension=dimension,
            fingerprint=fingerprint,
            replication_factor=replication_factor,
            max_batch_points=max_batch_points,
        )
        await index.ensure()
        return index

    async def ensure(self) -> None:
        """Create the collection and its payload indexes where they are missing; any replica may, at any time."""
        async with self._reaching("prepare the collection"):
            await self._check_server()
            if not await self._client.collection_exists(self._collection):
                await self._create()
            await self._check_collection()
            await self._create_payload_indexes()

    async def upsert(self, points: Sequence[ChunkPoint]) -> None:
        """Store points, replacing those of the same chunk id; raises ModelMismatch or InvalidPoint, storing none."""
        payload.check_points(points, self._dimension, self._fingerprint)
        structs = [chunk_struct(point) for point in points]
        async with self._reaching("write"):
            for start in range(0, len(structs), self._max_batch_points):
                batch = structs[start : start + self._max_batch_points]
                await self._client.upsert(self._collection, batch, wait=True)

    async def search(self, query: IndexQuery) -> list[Hit]:
        """Return at most `query.limit` hits, best first; raises ModelMismatch for a vector of another dimension."""
        payload.check_query(query, self._dimension, self._fingerprint)
        async with self._reaching("search"):
            words, cosines = await self._rankings(query)
            unknown = [each for each in words if each not in cosines]
            if unknown and query.vector is not None:
                [found] = await self._scores([cosines_of(query, unknown)])
                cosines |= found
            scores = ranked(query, cosines, words)
            payloads = await self._payloads(list(scores))
        return [
            payload.read_hit(each, payloads[each], score, cosines.get(each))
            for each, score in scores.items()
            if each in payloads
        ]

    async def search_fenced(self, query: IndexQuery) -> FencedHits:
        """Return what `search` does, and the fences that decide about it, asked for afterwards."""
        hits = await self.search(query)
        return FencedHits(hits, await self.fences(query.tenant, fence_names(hits)))

    async def passages(self, span: DocumentSpan, limit: int) -> list[Hit]:
        """Return at most `limit` chunks of a part of a document, by revision and ordinal."""
        async with self._reaching("read a document"):
            records, _ = await self._client.scroll(
                self._collection,
                scroll_filter=models.Filter(must=conditions.span_scope(MAKE, span)),
                limit=limit,
                with_payload=models.PayloadSelectorExclude(exclude=payload.FIELDS_OF_NO_HIT),
            )
        return payload.in_order(payload.read_hit(str(each.id), each.payload or {}, 0.0, None) for each in records)

    async def raise_fence(
        self, tenant: str, document_id: str, *, visible: int | None = None, floor: int | None = None
    ) -> None:
        """Lift each given number of the fence to at least this value.

        The server checks and sets each number in one step, and lifting commutes, so any interleaving of any number of
        writers, and any order in which copies of a shard apply it, ends at the maximum.
        """
        point_id = payload.fence_point_id(tenant, document_id)
        operations: list[Any] = [insert_if_missing(point_id, Fence(tenant, document_id))]
        wanted = {"visible": visible, "floor": floor}
        operations += [lift(point_id, name, number) for name, number in wanted.items() if number]
        async with self._reaching("write a fence"):
            await self._client.batch_update_points(self._collection, operations, wait=True)

    async def fences(self, tenant: str, document_ids: Collection[str]) -> dict[str, Fence]:
        """Return the fences of those documents that have one."""
        if not document_ids:
            return {}
        point_ids = [payload.fence_point_id(tenant, each) for each in document_ids]
        async with self._reaching("read fences"):
            records = await self._client.retrieve(
                self._collection, point_ids, with_payload=True, consistency=self._agreed
            )
        fences = [payload.read_fence(record.payload or {}) for record in records]
        return {fence.document_id: fence for fence in fences}

    async def remove_revisions(self, tenant: str, document_id: str, below: int) -> None:
        """Delete the document's points with a revision lower than `below`."""
        await self._remove(tenant, document_id, conditions.revisions(below=below))

    async def remove_revision(self, tenant: str, document_id: str, revision: int) -> None:
        """Delete the document's points of exactly this revision."""
        await self._remove(tenant, document_id, conditions.only_revision(revision))

    async def collections_of(self, tenant: str, document_id: str) -> set[str]:
        """Return the collections in which any revision of the document has points."""
        return set(await self._count_by("collection", conditions.document_scope(MAKE, tenant, document_id)))

    async def count(self, tenant: str | None = None, collection: str | None = None) -> int:
        """Return the exact number of chunk points."""
        scope = models.Filter(must=conditions.count_scope(MAKE, tenant, collection))
        async with self._reaching("count"):
            return (await self._client.count(self._collection, count_filter=scope, exact=True)).count

    async def document_revisions(self, after: int = 0, limit: int = 1_000) -> RevisionPage:
        """Return what all tenants have with a revision above `after`, looking at about `limit` points."""
        scope = models.Filter(must=conditions.revision_scope(MAKE, None, conditions.revisions(above=after)))
        async with self._reaching("list revisions"):
            records, _ = await self._client.scroll(
                self._collection,
                scroll_filter=scope,
                limit=limit,
                order_by=models.OrderBy(key=payload.REVISION_FIELD, direction=models.Direction.ASC),
                with_payload=payload.ROW_FIELDS,
            )
        rows = [payload.read_row(record.payload or {}) for record in records]
        return page_of(rows, limit) or await self._page_of_one(rows[0].revision)

    async def chunk_ids(self, start: str | None = None, limit: int = 1_000) -> ChunkIdPage:
        """Return ids of the chunks of all tenants, from `start` on."""
        records, following = await self._scroll(conditions.count_scope(MAKE, None, None), start, limit, payloads=False)
        return ChunkIdPage(tuple(str(record.id) for record in records), following)

    async def fence_page(self, start: str | None = None, limit: int = 1_000) -> FencePage:
        """Return the fences of all tenants, from `start` on."""
        records, following = await self._scroll(conditions.fence_scope(MAKE), start, limit, payloads=True)
        return FencePage(tuple(payload.read_fence(record.payload or {}) for record in records), following)

    async def present(self, chunk_ids: Sequence[str]) -> set[str]:
        """Return which of these chunks are stored."""
        async with self._reaching("look up chunks"):
            records = await self._client.retrieve(
                self._collection, list(chunk_ids), with_payload=False, consistency=self._agreed
            )
        return {str(record.id) for record in records}

    async def chunks(self, chunk_ids: Sequence[str]) -> list[ChunkPoint]:
        """Return those of these chunks that are stored, with their vectors."""
        async with self._reaching("read chunks"):
            records = await self._client.retrieve(
                self._collection, list(chunk_ids), with_payload=True, with_vectors=True, consistency=self._agreed
            )
        return [read_point(record) for record in records]

    async def size_bytes(self) -> int | None:
        """Return None: the server tells its own monitoring."""
        return None

    async def describe(self) -> IndexDescription:
        """Return which engine, which model and how much there is."""
        async with self._reaching("describe itself"):
            info = await self._client.info()
        points = await self.count()
        return IndexDescription("qdrant-server", info.version, points, self._dimension, self._fingerprint)

    async def close(self) -> None:
        """Close the client; closing twice does nothing."""
        if not self._closed:
            self._closed = True
            await self._client.close()

    async def _rankings(self, query: IndexQuery) -> tuple[dict[str, float], dict[str, float]]:
        """Return the scores by words and by meaning, asked for in one request."""
        requests = {}
        if query.ranks_by_words:
            requests["words"] = by_words(query)
        if query.ranks_by_meaning:
            requests["cosines"] = by_meaning(query)
        answers = dict(zip(requests, await self._scores(list(requests.values())), strict=True))
        return answers.get("words", {}), answers.get("cosines", {})

    async def _scores(self, requests: Sequence[models.QueryRequest]) -> list[dict[str, float]]:
        answers = await self._client.query_batch_points(self._collection, requests) if requests else []
        return [{str(point.id): point.score for point in answer.points} for answer in answers]

    async def _payloads(self, point_ids: list[str]) -> dict[str, dict[str, Any]]:
        """Return what the points hold; one that was removed since it was ranked is left out."""
        if not point_ids:
            return {}
        fields = models.PayloadSelectorExclude(exclude=payload.FIELDS_OF_NO_HIT)
        records = await self._client.retrieve(self._collection, point_ids, with_payload=fields)
        return {str(record.id): record.payload or {} for record in records}

    async def _check_server(self) -> None:
        found = (await self._client.info()).version
        numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
        if numbers < OLDEST_SERVER:
            raise IndexUnreadable(f"the Qdrant server is {found}; this release needs 1.19 or newer: upgrade the server")

    async def _create(self) -> None:
        try:
            await self._client.create_collection(
                self._collection,
                vectors_config={
                    payload.DENSE: models.VectorParams(size=self._dimension, distance=models.Distance.COSINE)
                },
                sparse_vectors_config={payload.SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
                replication_factor=self._replication_factor,
                write_consistency_factor=self._replication_factor // 2 + 1,
            )
        except (UnexpectedResponse, ValueError):
            # Another replica may have been faster; anything else shows when the collection is still not there.
            if not await self._client.collection_exists(self._collection):
                raise

    async def _check_collection(self) -> None:
        parameters = (await self._client.get_collection(self._collection)).config.params
        vectors = parameters.vectors if isinstance(parameters.vectors, dict) else {}
        size = vectors[payload.DENSE].size if payload.DENSE in vectors else None
        if size != self._dimension or payload.SPARSE not in (parameters.sparse_vectors or {}):
            raise ModelMismatch(
                f"collection {self._collection!r} of model {self._fingerprint!r} holds vectors of {size} dimensions,"
                f" but {self._dimension} are configured for that model; correct the dimension, or delete the collection"
                " and index the documents anew"
            )

    async def _create_payload_indexes(self) -> None:
        tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
        schemas: dict[str, Any] = dict.fromkeys(payload.KEYWORD_FIELDS, models.PayloadSchemaType.KEYWORD)
        schemas |= {payload.TENANT_FIELD: tenant, payload.REVISION_FIELD: models.PayloadSchemaType.INTEGER}
        for field, schema in schemas.items():
            await self._client.create_payload_index(self._collection, field, schema, wait=True)

    async def _remove(self, tenant: str, document_id: str, bounds: Between) -> None:
        scope = [*conditions.document_scope(MAKE, tenant, document_id), MAKE.within(bounds)]
        async with self._reaching("delete"):
            selector = models.FilterSelector(filter=models.Filter(must=scope))
            await self._client.delete(self._collection, selector, wait=True)

    async def _scroll(
        self, scope: list[models.Condition], start: str | None, limit: int, *, payloads: bool
    ) -> tuple[list[models.Record], str | None]:
        async with self._reaching("list points"):
            records, following = await self._client.scroll(
                self._collection,
                scroll_filter=models.Filter(must=scope),
                limit=limit,
                offset=start,
                with_payload=payloads,
            )
        return records, None if following is None else str(following)

    async def _page_of_one(self, revision: int) -> RevisionPage:
        tenants = await self._count_by(payload.TENANT_FIELD, _scope_of_one(None, revision))
        counts = {tenant: await self._count_by("document_id", _scope_of_one(tenant, revision)) for tenant in tenants}
        return page_of_one(revision, counts)

    async def _count_by(self, field: str, scope: list[models.Condition]) -> dict[str, int]:
        chosen = models.Filter(must=scope)
        async with self._reaching("count points"):
            answer = await self._client.facet(
                self._collection, field, facet_filter=chosen, limit=MAX_SHARING_A_REVISION, exact=True
            )
        return {str(each.value): each.count for each in answer.hits}

    @asynccontextmanager
    async def _reaching(self, action: str) -> AsyncIterator[None]:
        """Tell a server that cannot answer now from a request that it refuses."""
        if self._closed:
            raise IndexUnavailable("the client of the Qdrant server is closed")
        with reaching(action):
            yield


def _scope_of_one(tenant: str | None, revision: int) -> list[models.Condition]:
    return conditions.revision_scope(MAKE, tenant, conditions.only_revision(revision))
