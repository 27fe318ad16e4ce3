"""Reading a part of one document as searches show it."""

from collections.abc import Sequence
from typing import Final

from contracts.retrieval import PassagesReply, PassagesRequest
from services.retriever.index import DocumentSpan, Hit, VectorIndex, fence_names
from services.retriever.search import read_filter, retrieved
from services.retriever.visibility import overtaking_fences, visible_hits
from shared.errors import NotFound

# A span of so many chunks is more than any reply holds; more of a page is not read at once either.
MAX_CHUNKS: Final = 256
# An update and what it replaces are both in the index for a moment.
REVISIONS_AT_ONCE: Final = 4
# Each is lost to an update that became visible between reading the chunks and reading the fences.
MAX_READS: Final = 4


class Reading:
    """Answers requests for passages from one index."""

    def __init__(self, index: VectorIndex) -> None:
        self._index = index

    async def passages(self, request: PassagesRequest) -> PassagesReply:
        """Return the chunks; NotFound for a document that the tenant's searches cannot find, whyever that is."""
        span = _span(request)
        shown = await self._visible(span)
        if not shown and not await self._visible(_beginning(span)):
            raise NotFound(f"document {request.document_id!r} is not in the index", field="document_id")
        kept = _fitting(shown, request.max_bytes)
        left = shown[len(kept) : len(kept) + 1]
        return PassagesReply(
            passages=[retrieved(hit) for hit in kept], next_ordinal=left[0].ordinal if left else _beyond(span, shown)
        )

    async def _visible(self, span: DocumentSpan) -> list[Hit]:
        shown: list[Hit] = []
        for _ in range(MAX_READS):
            hits = await self._index.passages(span, MAX_CHUNKS * REVISIONS_AT_ONCE)
            # As in a search: fences are read after the chunks, so that each is judged by one at least as new.
            fences = await self._index.fences(span.tenant, {span.document_id, *fence_names(hits)})
            shown = visible_hits(hits, fences, MAX_CHUNKS)
            if not overtaking_fences(hits, fences):
                break
        return shown


def _span(request: PassagesRequest) -> DocumentSpan:
    by_page = request.first_page is not None and request.last_page is not None
    first = request.first_page if by_page and request.first_page is not None else request.first_ordinal
    last = request.last_page if by_page else request.last_ordinal
    # Without an order in the index only a bounded span is sure to be read from its beginning.
    last = first + MAX_CHUNKS - 1 if last is None or (not by_page and last >= first + MAX_CHUNKS) else last
    return DocumentSpan(
        tenant=request.tenant,
        document_id=request.document_id,
        first=first,
        last=last,
        by_page=by_page,
        collection=request.collection,
        filter=read_filter(request.filter),
    )


def _beginning(span: DocumentSpan) -> DocumentSpan:
    return DocumentSpan(
        tenant=span.tenant,
        document_id=span.document_id,
        first=0,
        last=0,
        collection=span.collection,
        filter=span.filter,
    )


def _fitting(hits: Sequence[Hit], max_bytes: int) -> list[Hit]:
    kept: list[Hit] = []
    for hit in hits:
        max_bytes -= len(hit.text.encode())
        if kept and max_bytes < 0:
            break
        kept.append(hit)
    return kept


def _beyond(span: DocumentSpan, shown: Sequence[Hit]) -> int | None:
    """Return where an open span that was cut at its bound goes on."""
    full = len(shown) == MAX_CHUNKS and not span.by_page
    return shown[-1].ordinal + 1 if full else None
