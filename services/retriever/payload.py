"""How chunks and fences lie in Qdrant, the same in the server and in the embedded engine.

A chunk is a point with the vector "dense" and, where there is one, "sparse". A fence is a point without vectors,
so no search can find it. Both say in `kind` what they are.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Final

import numpy as np

from services.retriever.filters import Scalar
from services.retriever.index import (
    Chunk,
    ChunkPoint,
    Fence,
    Hit,
    IndexQuery,
    InvalidPoint,
    Metadata,
    ModelMismatch,
    SparseVector,
    Vector,
)
from services.retriever.revision_pages import PointRow

DENSE: Final = "dense"
SPARSE: Final = "sparse"
CHUNK: Final = "chunk"
FENCE: Final = "fence"
KEYWORD_FIELDS: Final = ("collection", "document_id", "kind", "terms")
TENANT_FIELD: Final = "tenant"
REVISION_FIELD: Final = "revision"
ORDINAL_FIELD: Final = "ordinal"
PAGE_FIELD: Final = "page"
# Only the index itself needs these; every hit would carry them for nothing.
FIELDS_OF_NO_HIT: Final = ["kind", "terms", "prefix"]
# What a listing of revisions reads of each point.
ROW_FIELDS: Final = [REVISION_FIELD, TENANT_FIELD, "document_id"]

_FENCE_NAMESPACE: Final = uuid.UUID("f1b0a3de-59c5-5d3b-8a54-3f0e6f1c7c52")
# A longer term is kept as its digest, so that a field full of prose does not fill the keyword index.
_MAX_TERM_CHARACTERS: Final = 128


def fence_point_id(tenant: str, document_id: str) -> str:
    """Return the id of a document's only fence, the same on every replica."""
    return str(uuid.uuid5(_FENCE_NAMESPACE, f"{tenant}\x00{document_id}"))


def term(field: str, value: Scalar) -> str:
    """Return the keyword that stands for "this metadata field has this value".

    One keyword index over these answers every equality at once, and exactly: the embedded engine takes `True` for 1
    in its own match condition, and no Qdrant matches floats.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = json.dumps([field, value], ensure_ascii=False, separators=(",", ":"))
    if len(text) <= _MAX_TERM_CHARACTERS:
        return text
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def chunk_payload(point: ChunkPoint) -> dict[str, Any]:
    """Return what is stored beside the vectors of a chunk."""
    return {
        "kind": CHUNK,
        "tenant": point.tenant,
        "collection": point.collection,
        "document_id": point.document_id,
        "revision": point.revision,
        "ordinal": point.ordinal,
        "text": point.text,
        "prefix": point.prefix,
        "title": point.title,
        "uri": point.uri,
        "metadata": dict(point.metadata),
        "terms": _terms(point.metadata),
        "page": point.page,
        "heading_path": list(point.heading_path),
        "char_start": point.char_start,
        "char_end": point.char_end,
    }


def _terms(metadata: Metadata) -> list[str]:
    values = ((field, value if isinstance(value, list) else [value]) for field, value in metadata.items())
    return [term(field, item) for field, items in values for item in items]


def read_hit(chunk_id: str, payload: Mapping[str, Any], score: float, similarity: float | None) -> Hit:
    """Return the hit that a found point says."""
    return Hit(
        chunk_id=chunk_id,
        tenant=payload["tenant"],
        collection=payload["collection"],
        document_id=payload["document_id"],
        revision=payload["revision"],
        ordinal=payload["ordinal"],
        text=payload["text"],
        title=payload["title"],
        uri=payload["uri"],
        metadata=payload["metadata"],
        page=payload["page"],
        heading_path=tuple(payload["heading_path"]),
        char_start=payload["char_start"],
        char_end=payload["char_end"],
        score=score,
        similarity=similarity,
    )


def in_order(hits: Iterable[Hit]) -> list[Hit]:
    """Return hits by revision and ordinal."""
    return sorted(hits, key=lambda hit: (hit.revision, hit.ordinal))


def read_point(chunk_id: str, payload: Mapping[str, Any], vector: Vector, sparse: SparseVector | None) -> ChunkPoint:
    """Return the chunk that a stored point says, with its vectors."""
    hit = read_hit(chunk_id, payload, score=0.0, similarity=None)
    stored = {field.name: getattr(hit, field.name) for field in fields(Chunk)}
    prefix = payload["prefix"] if "prefix" in payload else _usual_prefix(hit)
    return ChunkPoint(**(stored | {"prefix": prefix}), vector=vector, sparse=sparse)


def _usual_prefix(chunk: Chunk) -> str:
    """Return what stood before the text when it was embedded by a release that did not store it."""
    parts = dict.fromkeys(part for part in (chunk.title, *chunk.heading_path) if part)
    return " > ".join(parts) + "\n\n" if parts else ""


def fence_payload(fence: Fence) -> dict[str, Any]:
    """Return what a fence stores."""
    return {
        "kind": FENCE,
        "tenant": fence.tenant,
        "document_id": fence.document_id,
        "visible": fence.visible,
        "floor": fence.floor,
    }


def read_fence(payload: Mapping[str, Any]) -> Fence:
    """Return the fence that a stored point says."""
    return Fence(payload["tenant"], payload["document_id"], payload["visible"], payload["floor"])


def read_row(payload: Mapping[str, Any]) -> PointRow:
    """Return whose point it is."""
    return PointRow(payload[REVISION_FIELD], payload[TENANT_FIELD], payload["document_id"])


def name_of(point: ChunkPoint) -> str:
    """Return what an error calls a point."""
    return f"chunk {point.chunk_id} of document {point.document_id!r}"


def check_points(points: Iterable[ChunkPoint], dimension: int, fingerprint: str) -> None:
    """Raise InvalidPoint or ModelMismatch for the first point that the index cannot hold."""
    for point in points:
        _check_vector(point.vector, dimension, fingerprint, name_of(point))
        # Qdrant stores NaN without complaint, and such a point then takes an arbitrary rank in every search.
        if not np.isfinite(point.vector).all():
            raise InvalidPoint(f"{name_of(point)} has a vector with NaN or inf")
        _check_id(point)


def check_query(query: IndexQuery, dimension: int, fingerprint: str) -> None:
    """Raise ModelMismatch for a query vector that cannot come from the index's model."""
    if query.vector is not None:
        _check_vector(query.vector, dimension, fingerprint, "the query")


def _check_vector(vector: Vector, dimension: int, fingerprint: str, owner: str) -> None:
    if vector.shape != (dimension,):
        raise ModelMismatch(
            f"{owner} has a vector of shape {vector.shape}, but the index of model {fingerprint!r} holds vectors of"
            f" {dimension} dimensions; embed it with that model"
        )


def _check_id(point: ChunkPoint) -> None:
    try:
        uuid.UUID(point.chunk_id)
    except ValueError:
        raise InvalidPoint(f"chunk id {point.chunk_id!r} of document {point.document_id!r} is no UUID") from None
