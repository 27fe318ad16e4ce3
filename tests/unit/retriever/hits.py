"""Hits and what they hold, for tests that need no index."""

from typing import Any

from services.retriever.index import Hit


def hit(document_id: str = "a", revision: int = 1, ordinal: int = 0, **fields: Any) -> Hit:
    defaults: dict[str, Any] = {
        "tenant": "acme",
        "collection": "default",
        "document_id": document_id,
        "revision": revision,
        "ordinal": ordinal,
        "chunk_id": f"{document_id}-{revision}-{ordinal}",
        "text": "",
        "title": None,
        "uri": None,
        "metadata": {},
        "page": None,
        "heading_path": (),
        "char_start": 0,
        "char_end": 0,
        "score": 1.0,
    }
    return Hit(**(defaults | fields))
