"""Writes that reach every open index."""

from collections.abc import Awaitable, Callable, Sequence

from contracts.chunks import ChunksEmbedded
from contracts.messages import Fact
from services.retriever.epochs import Epochs
from services.retriever.generations import Generation, Generations
from services.retriever.index import Fence, Vector
from services.retriever.indexing import Indexing

EmbedPassages = Callable[[str, Sequence[str]], Awaitable[list[Vector]]]


class Writing:
    """Puts chunks in and takes outdated ones out; `embed(model, texts)` computes what a batch does not bring along.

    Every call may be repeated, come late, or come in another order.
    """

    def __init__(
        self,
        generations: Generations,
        indexing: Callable[[Generation], Indexing],
        embed: EmbedPassages,
        epochs: Epochs,
    ) -> None:
        self._generations = generations
        self._indexing = indexing
        self._embed = embed
        self._epochs = epochs

    async def add(self, batch: ChunksEmbedded) -> None:
        """Store a batch, in the next index first."""
        for generation in reversed(self._generations.opened):
            fitting = await self._fitting(batch, generation)
            if fitting is not None:
                await self._indexing(generation).add(fitting)
        await self._epochs.changed(batch.tenant, {batch.collection})

    async def clean_up(self, fact: Fact) -> None:
        """Follow what persistence decided about a document, in the next index last."""
        changed = [await self._indexing(generation).clean_up(fact) for generation in self._generations.opened]
        told = [collections for collections in changed if collections is not None]
        if told:
            # Where one index cannot tell which collections they are, it may be any.
            await self._epochs.changed(fact.tenant, set().union(*told) if all(told) else set())

    async def raise_floor(self, tenant: str, document_id: str, floor: int) -> Fence:
        """Hide every revision below `floor` and return the fence that holds."""
        for generation in self._generations.opened:
            await generation.index.raise_fence(tenant, document_id, floor=floor)
        index = self._generations.active.index
        await self._epochs.changed(tenant, await index.collections_of(tenant, document_id))
        return (await index.fences(tenant, {document_id}))[document_id]

    async def _fitting(self, batch: ChunksEmbedded, generation: Generation) -> ChunksEmbedded | None:
        """Return the batch with the vectors of this index, or None where a reindexing will bring it."""
        if batch.model == generation.model:
            return batch
        brought = [chunk.next_vector for chunk in batch.chunks if chunk.next_vector is not None]
        if batch.next_model == generation.model and len(brought) == len(batch.chunks):
            return _with_vectors(batch, generation.model, brought)
        if generation is not self._generations.active:
            return None
        # It was under way while the model was changed; what is searched now must have it at once.
        vectors = await self._embed(generation.model, [chunk.embedded_text for chunk in batch.chunks])
        return _with_vectors(batch, generation.model, [vector.tobytes() for vector in vectors])


def _with_vectors(batch: ChunksEmbedded, model: str, vectors: Sequence[bytes]) -> ChunksEmbedded:
    chunks = [chunk.model_copy(update={"vector": vector}) for chunk, vector in zip(batch.chunks, vectors, strict=True)]
    return batch.model_copy(update={"model": model, "dimension": len(vectors[0]) // 4, "chunks": chunks})
