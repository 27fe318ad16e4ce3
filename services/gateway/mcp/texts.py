"""What a tool found, as text for a model to read; programs take the structured content beside it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.queries import Citation
from contracts.reads import DocumentView
from contracts.retrieval import PassagesReply
from services.gateway.problems import RequestProblem
from services.gateway.receipts import Receipt
from shared.errors import PlatformError, Retryable


def hits_text(hits: Sequence[Mapping[str, Any]]) -> str:
    """Return the hits, best first, each with where it comes from."""
    if not hits:
        return "No passage fits. Other words, another collection or a wider filter may find one."
    return "\n\n".join(f"[{n}] {_source_of(hit)}\n{hit['text']}" for n, hit in enumerate(hits, start=1))


def answer_text(answer: str, citations: Sequence[Citation], conversation_id: str | None) -> str:
    """Return an answer with its numbered sources, and how to go on with its conversation."""
    parts = [answer]
    if citations:
        parts.append("Sources:\n" + "\n".join(map(_cited, citations)))
    if conversation_id is not None:
        parts.append(f"conversation_id: {conversation_id}")
    return "\n\n".join(parts)


def document_text(view: DocumentView, text: PassagesReply) -> str:
    """Return where a document stands, its text, and how to read on."""
    lines = [
        f"Document {view.id!r}: {view.status}, revision {view.revision}, "
        f"{view.chunks.indexed} of {view.chunks.total} chunks can be searched.",
        f"collection: {view.collection}",
        *(f"{name}: {value}" for name, value in (("title", view.title), ("uri", view.uri)) if value is not None),
        *(f"{name}: {value}" for name, value in view.metadata.items()),
        f"created {view.created_at:%Y-%m-%d %H:%M:%S} UTC, updated {view.updated_at:%Y-%m-%d %H:%M:%S} UTC",
    ]
    if view.error is not None:
        lines.insert(1, f"It failed with `{view.error.code}`: {view.error.message}")
    parts = ["\n".join(lines), *(chunk.text for chunk in text.passages)]
    if text.next_ordinal is not None:
        parts.append(f"(The text goes on: get_document with first_chunk {text.next_ordinal}.)")
    return "\n\n".join(parts)


def receipt_text(receipt: Receipt) -> str:
    """Return what became of a text that was handed in."""
    name = f"Document {receipt.document_id!r}, revision {receipt.revision}, in collection {receipt.collection!r}"
    if receipt.error is not None:
        return f"{name}: it failed with `{receipt.error.code}`: {receipt.error.message}"
    if receipt.overtaken:
        return f"{name}: a later revision of it was written meanwhile, which is {receipt.status}."
    if receipt.status == "indexed":
        return f"{name}: indexed, it can be searched now."
    return f"{name}: {receipt.status}. It is stored safely; get_document tells when it can be searched."


def failure_text(error: PlatformError, trace_id: str) -> str:
    """Return why a tool could not do it, which arguments are wrong, and when to try again."""
    reason = error.message
    if isinstance(error, RequestProblem) and error.errors:
        reason = "; ".join(f"`{wrong['field']}`: {wrong['message']}" for wrong in error.errors)
    elif error.field:
        reason = f"`{error.field}`: {reason}"
    again = ""
    if isinstance(error, Retryable | RequestProblem) and error.retry_after_seconds is not None:
        again = f" Try again in {max(1, math.ceil(error.retry_after_seconds))} s."
    return f"Error {error.error_code}: {reason}.{again} (trace {trace_id})"


def _source_of(hit: Mapping[str, Any]) -> str:
    where = [f"document {hit['document_id']!r}", f"collection {hit['collection']!r}"]
    if "page" in hit:
        where.append(f"page {hit['page']}")
    if hit["uri"]:
        where.append(hit["uri"])
    return f"{hit['title'] or hit['document_id']} ({', '.join(where)})"


def _cited(citation: Citation) -> str:
    uri = f", {citation.uri}" if citation.uri else ""
    name = citation.title or citation.document_id
    return f'[{citation.n}] {name} (document {citation.document_id!r}{uri}): "{citation.quote}"'
