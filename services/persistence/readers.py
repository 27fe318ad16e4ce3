"""What is answered: read requests of the gateway, and how the database is."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from contracts.reads import (
    CollectionList,
    CollectionsQuery,
    DocumentListQuery,
    DocumentPage,
    DocumentQuery,
    DocumentView,
    IdempotencyQuery,
    IdempotencyReply,
    UsageQuery,
    UsageReply,
)
from services.persistence import reads, usage
from services.persistence.read_pool import ReadPool
from services.persistence.unit_of_work import GroupCommit
from shared.errors import Unavailable


class ReadHandlers:
    """One method per read request; `max_page_bytes` bounds a page, `keep_seconds` how long a key counts."""

    def __init__(self, pool: ReadPool, writer: GroupCommit, *, max_page_bytes: int, keep_seconds: float) -> None:
        self._pool = pool
        self._writer = writer
        self._max_page_bytes = max_page_bytes
        self._keep = timedelta(seconds=keep_seconds)

    async def on_document(self, query: DocumentQuery, _deadline: float | None) -> DocumentView:
        """Return one document."""
        return await self._pool.run(partial(reads.document, query=query))

    async def on_documents(self, query: DocumentListQuery, _deadline: float | None) -> DocumentPage:
        """Return a page of documents."""
        return await self._pool.run(partial(reads.documents, query=query, max_bytes=self._max_page_bytes))

    async def on_collections(self, query: CollectionsQuery, _deadline: float | None) -> CollectionList:
        """Return the collections of a tenant."""
        return await self._pool.run(partial(reads.collections, query=query))

    async def on_idempotency(self, query: IdempotencyQuery, _deadline: float | None) -> IdempotencyReply:
        """Return what idempotency keys were used for."""
        not_before = datetime.now(UTC) - self._keep
        return await self._pool.run(partial(reads.idempotency_keys, query=query, not_before=not_before))

    async def on_usage(self, query: UsageQuery, _deadline: float | None) -> UsageReply:
        """Return what a tenant uses of its quota."""
        return await self._pool.run(partial(usage.usage, query=query))

    async def check_database(self) -> dict[str, Any]:
        """Return how much the database holds; Unavailable when it cannot be read or written."""
        if self._writer.outage is not None:
            raise Unavailable(self._writer.outage)
        documents, chunks = await self._pool.run(reads.totals)
        return {"kind": self._pool.kind, "documents": documents, "chunks": chunks}
