"""Naming where something is said."""

from contracts.queries import Citation
from contracts.retrieval import RetrievedChunk


def citation_of(n: int, chunk: RetrievedChunk, quote: str) -> Citation:
    """Return citation `n`, of a verbatim part of a chunk."""
    return Citation(
        n=n,
        document_id=chunk.document_id,
        chunk_id=chunk.chunk_id,
        title=chunk.title,
        uri=chunk.uri,
        quote=quote,
        ordinal=chunk.ordinal,
        page=chunk.page,
        heading_path=list(chunk.heading_path),
    )
