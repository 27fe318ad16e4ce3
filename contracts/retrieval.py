"""Request and reply between gateway, agent, retriever and embedder."""

from typing import Any, Literal

from pydantic import Field

from contracts.documents import CollectionName, Metadata
from contracts.messages import Message

SearchMode = Literal["hybrid", "dense", "sparse"]


class RetrieveRequest(Message):
    """Find the chunks of a tenant that fit a query."""

    tenant: str
    query: str = Field(min_length=1)
    collection: CollectionName | None = None
    top_k: int = Field(default=10, ge=1, le=100)
    mode: SearchMode = "hybrid"
    filter: dict[str, Any] | None = None
    rerank: bool = False


class RetrievedChunk(Message):
    """A chunk that was found; `score` is comparable within one reply only, `similarity` is the cosine to the query."""

    document_id: str
    chunk_id: str
    collection: str
    revision: int
    ordinal: int
    title: str | None = None
    uri: str | None = None
    text: str
    score: float
    similarity: float | None = None
    metadata: Metadata = Field(default_factory=dict)
    page: int | None = None
    heading_path: tuple[str, ...] = ()


class RetrieveReply(Message):
    """Hits, best first, and where the time went (milliseconds).

    `reranked` answers a request to rerank: false means that the time did not suffice and the order is the search's own.
    """

    hits: list[RetrievedChunk]
    took_ms: dict[str, float]
    model: str
    reranked: bool | None = None


class EmbedRequest(Message):
    """Embed texts on the interactive lane; `kind` decides whether the model's query prefix is used."""

    texts: list[str] = Field(min_length=1, max_length=64)
    kind: Literal["query", "passage"] = "query"


class EmbedReply(Message):
    """Vectors as raw little-endian float32, one per text."""

    model: str
    dimension: int
    vectors: list[bytes]


class FenceRequest(Message):
    """Hide every revision of a document below `floor` from now on, on every replica."""

    tenant: str
    document_id: str
    floor: int = Field(ge=1)


class FenceReply(Message):
    """The fence stands; `floor` is what holds now and is never lower than what was asked."""

    floor: int


class IndexCountsRequest(Message):
    """Count what a tenant has in the index."""

    tenant: str
    collection: str | None = None


class IndexCountsReply(Message):
    """Number of chunks in the index, and which index it is."""

    chunks: int
    engine: str
    model: str
