"""What persistence knows, asked for one tenant."""

import asyncio
import time
from typing import Final

from contracts import subjects
from contracts.reads import (
    CollectionList,
    CollectionsQuery,
    DocumentListQuery,
    DocumentPage,
    DocumentQuery,
    DocumentView,
)
from contracts.retrieval import PassagesReply, PassagesRequest
from services.gateway.recent import RecentWrites
from services.gateway.waiting import Look
from shared.errors import NotFound, Unavailable
from shared.logs import get_logger
from shared.messaging.requests import Requester

log = get_logger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.02


class Reads:
    """Reads documents and collections; raises Unavailable when persistence does not answer."""

    def __init__(self, requester: Requester, recent: RecentWrites, *, settle_seconds: float) -> None:
        self._requester = requester
        self._recent = recent
        self._settle_seconds = settle_seconds

    async def recorded(self, tenant: str, document_id: str, *, deadline: float | None = None) -> DocumentView | None:
        """Return the document as it is recorded now, None when there is none; `deadline` is unix seconds."""
        query = DocumentQuery(tenant=tenant, document_id=document_id)
        try:
            return await self._requester.ask(subjects.READ_DOCUMENT, query, DocumentView, deadline=deadline)
        except NotFound:
            return None

    async def document(self, tenant: str, document_id: str) -> DocumentView:
        """Return a document, waiting a moment for what this replica has just accepted to be recorded; else NotFound."""
        write = self._recent.find(tenant, document_id)
        deadline = time.monotonic() + self._settle_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            view = await self.recorded(tenant, document_id)
            if write is None or (view is not None and view.revision >= write.revision):
                break
            if time.monotonic() + pause_seconds > deadline:
                break
            await asyncio.sleep(pause_seconds)
            pause_seconds *= 2
        if view is not None:
            return view
        if write is not None:
            raise Unavailable(f"the document is accepted as revision {write.revision}, but not recorded yet")
        raise no_document(document_id)

    def quiet_look(self, tenant: str) -> Look:
        """Return a look at the tenant's documents that raises nothing: what cannot be read in time is not there."""

        async def look(document_id: str) -> DocumentView | None:
            try:
                return await self.recorded(tenant, document_id, deadline=time.time() + self._settle_seconds)
            except Exception as error:  # The document is accepted already: no failure may take its receipt away.
                log.warning("document_not_read", reason=error)
                return None

        return look

    async def passages(self, tenant: str, document_id: str, *, first: int, max_bytes: int) -> PassagesReply:
        """Return the chunks of a document from ordinal `first` on, as many as fit; none where searches find none."""
        request = PassagesRequest(tenant=tenant, document_id=document_id, first_ordinal=first, max_bytes=max_bytes)
        try:
            return await self._requester.ask(subjects.READ_PASSAGES, request, PassagesReply)
        except NotFound:
            return PassagesReply(passages=[])

    async def documents(self, query: DocumentListQuery) -> DocumentPage:
        """Return a page of documents."""
        return await self._requester.ask(subjects.READ_DOCUMENTS, query, DocumentPage)

    async def collections(self, tenant: str) -> CollectionList:
        """Return every collection."""
        return await self._requester.ask(subjects.READ_COLLECTIONS, CollectionsQuery(tenant=tenant), CollectionList)

    async def require_collection(self, tenant: str, name: str) -> None:
        """Raise NotFound when there is no such collection, also among what was accepted moments ago."""
        if self._recent.knows_collection(tenant, name):
            return
        query = CollectionsQuery(tenant=tenant, name=name)
        try:
            found = await self._requester.ask(subjects.READ_COLLECTIONS, query, CollectionList)
        except NotFound:
            found = CollectionList(items=[])
        if not found.items:
            raise NotFound(
                f"there is no collection {name!r}; one begins with its first document",
                code="collection_not_found",
                field="collection",
            )


def no_document(document_id: str) -> NotFound:
    """Return the error of a document that does not exist."""
    return NotFound(f"there is no document {document_id!r}", code="document_not_found", field="document_id")
