"""Filling the index of the next model from the chunks of the present one, and the switch between them.

A pass looks at every fence and every chunk of the present index, in bounded steps that depend on nothing but their
cursor: any replica may do any of them, and a pass that was broken off loses nothing. Chunks keep their ids, so a step
copies what the next index lacks and nothing else.
"""

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from contracts.retrieval import ReindexReply, ReindexRequest
from services.retriever.bm25 import chunk_terms
from services.retriever.generations import Generation, Generations
from services.retriever.index import ChunkPoint, Fence, Vector, VectorIndex, fence_names
from services.retriever.writing import EmbedPassages
from shared.errors import Rejected

PAGE_POINTS: Final = 512
SLICE_CHUNKS: Final = 32
FENCES_AT_ONCE: Final = 32
# A step ends at the first slice after this, so that a caller hears of the progress and a request never takes long.
STEP_SECONDS: Final = 2.0
_FENCES: Final = "fences"
_CHUNKS: Final = "chunks"
# Tenant, document id, revision.
_Revision: TypeAlias = tuple[str, str, int]


class Reindexing:
    """Does the steps; `embed(model, texts)` asks for vectors where they do not hold up queries."""

    def __init__(self, generations: Generations, embed: EmbedPassages) -> None:
        self._generations = generations
        self._embed = embed

    async def step(self, request: ReindexRequest) -> ReindexReply:
        """Do one step; Rejected when there is no next model, or when it may not be activated yet."""
        if request.step == "look":
            return await self._state()
        source, target = self._both()
        if request.step == "activate":
            await self._activate(source, target)
            return await self._state()
        stage, start = _read_cursor(request.cursor)
        if stage == _FENCES:
            return await self._copy_fences(source.index, target.index, start)
        return await self._copy_chunks(source.index, target, start)

    async def _copy_fences(self, source: VectorIndex, target: VectorIndex, start: str | None) -> ReindexReply:
        """Fences come first: whatever is copied after them is hidden where it must be."""
        page = await source.fence_page(start, PAGE_POINTS)
        known = await _known_fences(target, page.fences)
        differing = [fence for fence in page.fences if known.get((fence.tenant, fence.document_id)) != fence]
        for position in range(0, len(differing), FENCES_AT_ONCE):
            await asyncio.gather(*(_raise(target, fence) for fence in differing[position : position + FENCES_AT_ONCE]))
        stage = _CHUNKS if page.next_start is None else _FENCES
        return (await self._state()).model_copy(update={"cursor": _cursor(stage, page.next_start)})

    async def _copy_chunks(self, source: VectorIndex, target: Generation, start: str | None) -> ReindexReply:
        until = time.monotonic() + STEP_SECONDS
        page = await source.chunk_ids(start, PAGE_POINTS)
        present = await target.index.present(page.ids)
        missing = [chunk_id for chunk_id in page.ids if chunk_id not in present]
        copied, done, following = 0, len(page.ids), page.next_start
        for position in range(0, len(missing), SLICE_CHUNKS):
            if position and time.monotonic() > until:
                done, following = page.ids.index(missing[position]), missing[position]
                break
            copied += await self._copy(source, target, missing[position : position + SLICE_CHUNKS])
        cursor = None if following is None else _cursor(_CHUNKS, following)
        state = await self._state()
        return state.model_copy(update={"looked_at": done, "copied": copied, "cursor": cursor})

    async def _copy(self, source: VectorIndex, target: Generation, chunk_ids: Sequence[str]) -> int:
        chunks = await source.chunks(chunk_ids)
        if not chunks:
            return 0
        vectors = await self._vectors(target.model, chunks)
        await target.index.upsert([await _copied(chunk, vector) for chunk, vector in zip(chunks, vectors, strict=True)])
        # Whoever removed it may have come by before the copy. If it is there after all, the next pass copies it again.
        for revision in await _removed(source, chunks):
            await target.index.remove_revision(*revision)
        hidden = await _hidden(target.index, chunks)
        for revision in hidden:
            await source.remove_revision(*revision)
            await target.index.remove_revision(*revision)
        return sum(_revision_of(chunk) not in hidden for chunk in chunks)

    async def _vectors(self, model: str, chunks: Sequence[ChunkPoint]) -> list[Vector]:
        try:
            return await self._embed(model, [chunk.prefix + chunk.text for chunk in chunks])
        except Rejected as error:
            if len(chunks) > 1:
                return [vector for chunk in chunks for vector in await self._vectors(model, [chunk])]
            raise Rejected(
                f"model {model} refuses chunk {chunks[0].ordinal} of document {chunks[0].document_id!r} of tenant"
                f" {chunks[0].tenant!r} ({error.message}); change or delete the document, then go on",
                code=error.error_code,
            ) from error

    async def _activate(self, source: Generation, target: Generation) -> None:
        if target.model == self._generations.active.model:
            return
        # The first search must not be the one that finds out that the embedder does not have the model.
        await self._embed(target.model, ["ready?"])
        before = await source.index.count()
        found = await target.index.count()
        wanted = min(before, await source.index.count())
        if found < wanted:
            raise Rejected(
                f"the index of {target.model} holds {found} of {wanted} chunks; copy what is missing first",
                code="reindex_incomplete",
            )
        await self._generations.activate(target)

    async def _state(self) -> ReindexReply:
        active, opened = self._generations.active, self._generations.opened
        return ReindexReply(
            active=active.model,
            chunks=await active.index.count(),
            next_model=self._generations.next_model,
            next_chunks=await opened[-1].index.count() if self._generations.next_model else 0,
        )

    def _both(self) -> tuple[Generation, Generation]:
        opened = self._generations.opened
        if len(opened) == 2:
            return opened[0], opened[1]
        if self._generations.next_model is None:
            raise Rejected(
                "no next model is configured: set RAG_NEXT_EMBEDDING_MODEL for embedder, parser and retriever, start"
                " them again, then run `rag reindex`",
                code="no_next_model",
            )
        raise Rejected(f"model {self._generations.next_model} is active already", code="already_active")


async def _raise(index: VectorIndex, fence: Fence) -> None:
    await index.raise_fence(fence.tenant, fence.document_id, visible=fence.visible or None, floor=fence.floor or None)


async def _copied(chunk: ChunkPoint, vector: Vector) -> ChunkPoint:
    # Half a millisecond of counting words a chunk: a search that came meanwhile goes first.
    await asyncio.sleep(0)
    # The words as well: chunks of earlier releases have none, or others.
    return replace(chunk, vector=vector, sparse=chunk_terms(chunk.prefix + chunk.text))


async def _known_fences(index: VectorIndex, fences: Sequence[Fence]) -> dict[tuple[str, str], Fence]:
    documents: defaultdict[str, set[str]] = defaultdict(set)
    for fence in fences:
        documents[fence.tenant].add(fence.document_id)
    found = [await index.fences(tenant, names) for tenant, names in documents.items()]
    return {(fence.tenant, fence.document_id): fence for of_tenant in found for fence in of_tenant.values()}


async def _removed(source: VectorIndex, copied: Sequence[ChunkPoint]) -> set[_Revision]:
    """Return what was removed while it was copied."""
    still_there = await source.present([chunk.chunk_id for chunk in copied])
    return {_revision_of(chunk) for chunk in copied if chunk.chunk_id not in still_there}


async def _hidden(index: VectorIndex, copied: Sequence[ChunkPoint]) -> set[_Revision]:
    """Return what no search will ever show again: it came late, and nobody else would come to remove it."""
    owners = {(_revision_of(chunk), name) for chunk in copied for name in fence_names([chunk])}
    fences = await _known_fences(index, [Fence(revision[0], name) for revision, name in owners])
    return {
        revision
        for revision, name in owners
        if (fence := fences.get((revision[0], name))) and revision[2] < max(fence.visible, fence.floor)
    }


def _revision_of(chunk: ChunkPoint) -> _Revision:
    return chunk.tenant, chunk.document_id, chunk.revision


def _cursor(stage: str, start: str | None) -> str:
    return f"{stage}:{start or ''}"


def _is_point_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _read_cursor(cursor: str | None) -> tuple[str, str | None]:
    stage, _, start = (cursor or _cursor(_FENCES, None)).partition(":")
    if stage not in (_FENCES, _CHUNKS) or not (start == "" or _is_point_id(start)):
        raise Rejected(f"cursor {cursor!r} is none that a step has answered", code="invalid_cursor", field="cursor")
    return stage, start or None
