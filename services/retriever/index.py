"""The vector index as the retriever sees it: what it stores, what it answers and how it fails.

IndexUnavailable (Unavailable)     retry: the store is closed, unreachable or overloaded
InvalidPoint     (Rejected)        reject: this input can never be stored
ModelMismatch                      fault of the deployment: vectors of two models never share an index
IndexLocked                        fault of the deployment: another process has the directory open
IndexUnreadable                    fault of the deployment: a damaged directory, or another format or version
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.retriever.filters import Filter
from shared.errors import Rejected, Unavailable

Metadata: TypeAlias = Mapping[str, str | float | int | bool | list[str]]
Vector: TypeAlias = NDArray[np.float32]

_COLLECTION_MARK: Final = "\x1f"


class IndexUnavailable(Unavailable):
    """The store cannot be reached or is closed; the same call may work later."""

    code = "index_unavailable"


class InvalidPoint(Rejected):
    """A point that no index can hold."""

    code = "invalid_point"


class ModelMismatch(Exception):
    """Vectors of one embedding model met an index of another; the message names both and what to do."""


class IndexLocked(Exception):
    """Another process, or another index of this process, has the directory open."""


class IndexUnreadable(Exception):
    """What is stored is damaged, or of a format or server version that this release does not speak."""


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Term weights: unique `indices` (32 bit, unsigned) and as many finite `values`; raises InvalidPoint otherwise."""

    indices: tuple[int, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.indices) != len(self.values):
            raise InvalidPoint(f"a sparse vector has {len(self.indices)} indices but {len(self.values)} values")
        if len(set(self.indices)) != len(self.indices):
            raise InvalidPoint("a sparse vector names an index twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of one revision of a document; `revision` is the document's total order, positions count characters.

    `prefix` (title and headings) was embedded in front of `text` and is never quoted.
    """

    tenant: str
    collection: str
    document_id: str
    revision: int
    ordinal: int
    chunk_id: str
    text: str
    title: str | None
    uri: str | None
    metadata: Metadata
    page: int | None
    heading_path: tuple[str, ...]
    char_start: int
    char_end: int
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkPoint(Chunk):
    """A chunk to store: `chunk_id` is a UUID and decides identity, `vector` has shape (dimension,)."""

    vector: Vector
    sparse: SparseVector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit(Chunk):
    """A chunk that was found; `score` orders one answer, `similarity` is the cosine to the query's dense vector."""

    score: float
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Fence:
    """What may be shown of a document: `visible` is its last fully indexed revision, 0 while there is none;
    points with a revision below `floor` never answer again. A collection has a fence as well, with a floor alone.
    """

    tenant: str
    document_id: str
    visible: int = 0
    floor: int = 0

    def raised_to(self, other: "Fence") -> "Fence":
        """Return this fence with each number lifted to at least the other's."""
        return replace(self, visible=max(self.visible, other.visible), floor=max(self.floor, other.floor))


def collection_fence(collection: str) -> str:
    """Return what the fence of a collection is called among those of documents, whose ids hold no such character."""
    return _COLLECTION_MARK + collection


def fenced_collection(name: str) -> str | None:
    """Return the collection that a fence is about, None when it is about a document."""
    return name.removeprefix(_COLLECTION_MARK) if name.startswith(_COLLECTION_MARK) else None


def fence_names(chunks: Sequence[Chunk]) -> set[str]:
    """Return the names of the fences that decide about these chunks."""
    return {each.document_id for each in chunks} | {collection_fence(each.collection) for each in chunks}


@dataclass(frozen=True, slots=True)
class FencedHits:
    """Hits, best first, and those fences that decide about them; the fences were read after the hits."""

    hits: Sequence[Hit]
    fences: Mapping[str, Fence]


class SearchMode(StrEnum):
    """How hits are ranked: by meaning, by words, or by both."""

    DENSE = "dense"
    SPARSE = "sparse"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IndexQuery:
    """One search within one tenant; raises ValueError when the mode lacks its vector or a limit is below one.

    `candidates` is how deep each ranking goes before two are fused, `words_weight` what `fusion.fuse` takes. Points
    of a collection in `floors` with a revision below its floor are left out.
    """

    tenant: str
    limit: int
    mode: SearchMode = SearchMode.DENSE
    vector: Vector | None = None
    sparse: SparseVector | None = None
    collection: str | None = None
    filter: Filter | None = None
    candidates: int = 100
    words_weight: float | None = None
    floors: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if min(self.limit, self.candidates) < 1:
            raise ValueError("limit and candidates must be at least 1")
        if self.mode != SearchMode.SPARSE and self.vector is None:
            raise ValueError(f"a {self.mode} search needs a dense vector")
        if self.mode != SearchMode.DENSE and self.sparse is None:
            raise ValueError(f"a {self.mode} search needs a sparse vector")

    @property
    def depth(self) -> int:
        """How many candidates each ranking brings: more than are asked for where two are fused."""
        return max(self.candidates, self.limit) if self.mode == SearchMode.HYBRID else self.limit

    @property
    def ranks_by_meaning(self) -> bool:
        """Whether the dense vector decides, alone or with the words."""
        return self.mode != SearchMode.SPARSE

    @property
    def ranks_by_words(self) -> bool:
        """Whether words decide, alone or with the meaning; a query of stop words has none."""
        return self.mode != SearchMode.DENSE and self.has_terms

    @property
    def has_terms(self) -> bool:
        """Whether there is any word to rank by."""
        return self.sparse is not None and bool(self.sparse.indices)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSpan:
    """A part of one document of a tenant, in every revision that is stored: chunks `first` to `last`, both included.

    `by_page` counts pages instead of ordinals. Only a document of `collection` and one that passes `filter` has any.
    """

    tenant: str
    document_id: str
    first: int
    last: int
    by_page: bool = False
    collection: str | None = None
    filter: Filter | None = None


@dataclass(frozen=True, slots=True)
class DocumentRevision:
    """How many points of one revision of a document the index holds."""

    tenant: str
    document_id: str
    revision: int
    points: int


@dataclass(frozen=True, slots=True)
class RevisionPage:
    """Revisions in ascending order; `next_after` asks for the next page and is None on the last one."""

    entries: tuple[DocumentRevision, ...]
    next_after: int | None


@dataclass(frozen=True, slots=True)
class ChunkIdPage:
    """Ids of stored chunks in the index's own order; `next_start` begins the next page and is None on the last one."""

    ids: tuple[str, ...]
    next_start: str | None


@dataclass(frozen=True, slots=True)
class FencePage:
    """Fences of all tenants in the index's own order; `next_start` begins the next page and is None on the last one."""

    fences: tuple[Fence, ...]
    next_start: str | None


@dataclass(frozen=True, slots=True)
class IndexDescription:
    """Which index this is; `chunk_points` leaves fences out."""

    engine: str
    version: str
    chunk_points: int
    dimension: int
    fingerprint: str


class VectorIndex(Protocol):
    """Chunks with their vectors, one fence per document, and one per collection that was deleted.

    Every call may raise IndexUnavailable. A write that returned survives a kill of the process. Fences are never
    found by a search and never counted; a search does not apply them (`visibility.search_visible` does).
    """

    async def upsert(self, points: Sequence[ChunkPoint]) -> None:
        """Store points, replacing those of the same chunk id; raises ModelMismatch or InvalidPoint, storing none."""
        ...

    async def search(self, query: IndexQuery) -> list[Hit]:
        """Return at most `query.limit` hits, best first; raises ModelMismatch for a vector of another dimension."""
        ...

    async def search_fenced(self, query: IndexQuery) -> FencedHits:
        """Return what `search` does, and the fences that decide about it, read afterwards."""
        ...

    async def passages(self, span: DocumentSpan, limit: int) -> list[Hit]:
        """Return at most `limit` chunks of a part of a document, of all revisions, by revision and ordinal; score 0."""
        ...

    async def raise_fence(
        self, tenant: str, document_id: str, *, visible: int | None = None, floor: int | None = None
    ) -> None:
        """Lift each given number of the fence to at least this value; none ever sinks, whoever else writes it."""
        ...

    async def fences(self, tenant: str, document_ids: Collection[str]) -> dict[str, Fence]:
        """Return the fences of those documents that have one."""
        ...

    async def remove_revisions(self, tenant: str, document_id: str, below: int) -> None:
        """Delete the document's points with a revision lower than `below`."""
        ...

    async def remove_revision(self, tenant: str, document_id: str, revision: int) -> None:
        """Delete the document's points of exactly this revision."""
        ...

    async def collections_of(self, tenant: str, document_id: str) -> set[str]:
        """Return the collections in which any revision of the document has points."""
        ...

    async def count(self, tenant: str | None = None, collection: str | None = None) -> int:
        """Return the exact number of chunk points, of all tenants and collections when not given."""
        ...

    async def document_revisions(self, after: int = 0, limit: int = 1_000) -> RevisionPage:
        """Return what all tenants have with a revision above `after`, looking at about `limit` points."""
        ...

    async def chunk_ids(self, start: str | None = None, limit: int = 1_000) -> ChunkIdPage:
        """Return ids of the chunks of all tenants, from `start` on, whether or not that one is still there."""
        ...

    async def fence_page(self, start: str | None = None, limit: int = 1_000) -> FencePage:
        """Return the fences of all tenants, from `start` on, whether or not that one is still there."""
        ...

    async def present(self, chunk_ids: Sequence[str]) -> set[str]:
        """Return which of these chunks are stored."""
        ...

    async def chunks(self, chunk_ids: Sequence[str]) -> list[ChunkPoint]:
        """Return those of these chunks that are stored, with their vectors, in no particular order."""
        ...

    async def size_bytes(self) -> int | None:
        """Return how much disk the index takes up, None where a server keeps it."""
        ...

    async def describe(self) -> IndexDescription:
        """Return which engine, which model and how much there is."""
        ...

    async def close(self) -> None:
        """Finish the writes that wait and let go of the store; every later call raises IndexUnavailable."""
        ...
