"""Documents to table rows and back."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Row

from contracts.reads import ChunkCounts, DocumentError, DocumentView
from services.persistence.document import Document, Progress

BatchRow: TypeAlias = Row[int, int]


def document_of(row: Row[Any], batches: Sequence[BatchRow]) -> Document:
    """Return the document that a row and the rows of its batches describe."""
    return Document(
        tenant=row.tenant,
        document_id=row.document_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        progress=Progress(
            revision=row.revision,
            batches=row.batches,
            chunks=row.chunks,
            done=_done(batches, row.revision),
            chunks_indexed=row.chunks_indexed,
            error=_error_of(row),
            size_bytes=row.size_bytes,
        ),
        ahead=_ahead_of(row, batches) if row.ahead else None,
        deleted=row.status == "deleted",
        collection=row.collection,
        title=row.title,
        uri=row.uri,
        metadata=row.metadata,
        visible_revision=row.visible_revision,
        visible_chunks=row.visible_chunks,
        visible_bytes=row.visible_bytes,
    )


def view_of(row: Row[Any]) -> DocumentView:
    """Return a document as readers see it."""
    return DocumentView(
        id=row.document_id,
        collection=row.collection,
        title=row.title,
        uri=row.uri,
        status=row.status,
        revision=row.revision,
        chunks=ChunkCounts(total=row.chunks, indexed=row.chunks_indexed),
        error=_error_of(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
        metadata=row.metadata,
    )


def _error_of(row: Row[Any]) -> DocumentError | None:
    return DocumentError(code=row.error_code, message=row.error_message) if row.error_code else None


def _ahead_of(row: Row[Any], batches: Sequence[BatchRow]) -> Progress:
    fields: Mapping[str, Any] = row.ahead
    error = DocumentError.model_validate(fields["error"]) if fields["error"] else None
    known = {"error": error, "done": _done(batches, fields["revision"]), "size_bytes": row.ahead_bytes}
    return Progress(**{**fields, **known})


def _done(batches: Sequence[BatchRow], revision: int) -> frozenset[int]:
    return frozenset(row.batch for row in batches if row.revision == revision)


def row_of(document: Document) -> dict[str, Any]:
    """Return the columns of a document, without its key and its batches."""
    progress, ahead = document.progress, document.ahead
    return {
        "revision": progress.revision,
        "status": document.status,
        "collection": document.collection,
        "title": document.title,
        "uri": document.uri,
        "metadata": document.metadata,
        "batches": progress.batches,
        "chunks": progress.chunks,
        "chunks_indexed": progress.chunks_indexed,
        "error_code": progress.error.code if progress.error else None,
        "error_message": progress.error.message if progress.error else None,
        "visible_revision": document.visible_revision,
        "visible_chunks": document.visible_chunks,
        "visible_bytes": document.visible_bytes,
        "size_bytes": progress.size_bytes,
        "ahead": _ahead_fields(ahead) if ahead else None,
        "ahead_bytes": ahead.size_bytes if ahead else 0,
        "created_at": document.created_at,
        "updated_at": document.updated_at,
    }


def _ahead_fields(ahead: Progress) -> dict[str, Any]:
    return {
        "revision": ahead.revision,
        "batches": ahead.batches,
        "chunks": ahead.chunks,
        "chunks_indexed": ahead.chunks_indexed,
        "title": ahead.title,
        "error": ahead.error.model_dump() if ahead.error else None,
    }
