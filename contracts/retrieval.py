"""Request and reply between gateway, agent, retriever and embedder."""

from typing import Any, Final, Literal

from pydantic import Field

from contracts.documents import CollectionName, Metadata
from contracts.messages import Count, Message, Revision

SearchMode = Literal["hybrid", "dense", "sparse"]
MAX_TEXTS_PER_REQUEST: Final = 64
# How long a step of a reindexing may take, its vectors included; whoever waits for one waits so long.
REINDEX_STEP_SECONDS: Final = 60.0


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


class PassagesRequest(Message):
    """Read a document's chunks as searches show them, from one place to another, both included.

    Places are pages where both pages are given, else ordinals (from 0). `collection` and `filter` are conditions that
    the document has to fulfil. The reply holds at most `max_bytes` of text, but one chunk in any case.
    """

    tenant: str
    document_id: str = Field(min_length=1, max_length=256)
    collection: CollectionName | None = None
    filter: dict[str, Any] | None = None
    first_page: Count | None = None
    last_page: Count | None = None
    first_ordinal: Count = 0
    last_ordinal: Count | None = None
    max_bytes: int = Field(default=32_768, ge=1, le=524_288)


class PassagesReply(Message):
    """The chunks in their order; `next_ordinal` is where one that was asked for but did not fit begins, if any."""

    passages: list[RetrievedChunk]
    next_ordinal: int | None = None


class EmbedRequest(Message):
    """Embed texts; `kind` decides whether the model's query prefix is used.

    `model` is the fingerprint of the model that is wanted, none = the configured one. Passages of `bulk` work wait
    behind everybody else.
    """

    texts: list[str] = Field(min_length=1, max_length=MAX_TEXTS_PER_REQUEST)
    kind: Literal["query", "passage"] = "query"
    model: str | None = None
    bulk: bool = False


class EmbedReply(Message):
    """Vectors as raw little-endian float32, one per text."""

    model: str
    dimension: int
    vectors: list[bytes]


class EpochRequest(Message):
    """Tell the epoch of a collection, or of everything that a tenant has."""

    tenant: str
    collection: CollectionName | None = None


class EpochReply(Message):
    """What is kept of a search that began after this reply holds as long as the same epoch is told; it names nothing.

    Every change of what searches show has another epoch, before anybody is told of the change.
    """

    epoch: str = Field(min_length=1)


class FenceRequest(Message):
    """Hide every revision of a document below `floor` from now on, on every replica."""

    tenant: str
    document_id: str
    floor: Revision


class FenceReply(Message):
    """The fence stands; `floor` is what holds now and is never lower than what was asked."""

    floor: int


class ReindexRequest(Message):
    """Do one step towards the next embedding model; any replica may, any number of times.

    `look` changes nothing. `copy` brings over what the next index lacks, from `cursor` on, none = from the beginning.
    `activate` has searches use the next index from then on; it is refused while chunks are missing there.
    """

    step: Literal["look", "copy", "activate"] = "look"
    cursor: str | None = None


class ReindexReply(Message):
    """Where a reindexing stands.

    `active` is the model that searches use, `chunks` its number of chunks; `next_model` is the one to switch to, if
    any. `looked_at` and `copied` count the chunks of this step; `cursor` asks for the next one and is null at the end.
    """

    active: str
    chunks: int
    next_model: str | None = None
    next_chunks: int = 0
    looked_at: int = 0
    copied: int = 0
    cursor: str | None = None
