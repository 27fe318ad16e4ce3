"""Work between parser, embedder and retriever."""

import uuid
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from contracts.documents import Metadata
from contracts.messages import Count, Message, Revision

MAX_CHUNKS_PER_BATCH: Final = 64
MAX_DIMENSION: Final = 65_536
_POINT_NAMESPACE: Final = uuid.UUID("6a8f0c52-6f0e-5d0c-9a3c-2b7d2f6f1a10")


def chunk_id(tenant: str, document_id: str, revision: int, ordinal: int) -> str:
    """Return the id of a chunk and of its point, the same however often and wherever it is computed."""
    return str(uuid.uuid5(_POINT_NAMESPACE, f"{tenant}\x00{document_id}\x00{revision}\x00{ordinal}"))


class DocumentPart(Message):
    """What every message about a part of a document carries; `revision` is the INGEST sequence of its message."""

    tenant: str
    document_id: str
    revision: Revision
    collection: str
    title: str | None = None
    uri: str | None = None
    metadata: Metadata = Field(default_factory=dict)
    batch: Count


class ChunkText(Message):
    """One chunk: `text` is verbatim; `prefix` (title, heading path) is embedded in front of it, but never quoted."""

    ordinal: Count
    chunk_id: str
    text: str
    prefix: str = ""
    page: Count | None = None
    heading_path: tuple[str, ...] = ()
    char_start: Count = 0
    char_end: Count = 0

    @property
    def embedded_text(self) -> str:
        """Return the text that the embedding model sees."""
        return self.prefix + self.text


class ChunksReady(DocumentPart):
    """A batch of at most 64 chunks that wait for their vectors."""

    chunks: list[ChunkText] = Field(min_length=1, max_length=MAX_CHUNKS_PER_BATCH)


class EmbeddedChunk(ChunkText):
    """A chunk with its vector, and with that of the next model while one takes over: raw little-endian float32."""

    vector: bytes
    next_vector: bytes | None = None

    def vector_array(self) -> NDArray[np.float32]:
        """Return the vector, shape (dimension,)."""
        return np.frombuffer(self.vector, dtype="<f4")


class ChunksEmbedded(DocumentPart):
    """A batch of chunks with vectors that wait to be indexed; `model` is the fingerprint of the embedding model.

    With a `next_model` every chunk carries that model's vector as well.
    """

    model: str
    next_model: str | None = None
    dimension: int = Field(ge=1, le=MAX_DIMENSION)
    chunks: list[EmbeddedChunk] = Field(min_length=1, max_length=MAX_CHUNKS_PER_BATCH)
