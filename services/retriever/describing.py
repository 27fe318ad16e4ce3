"""What the retriever tells of its index."""

from typing import Any

from services.retriever.generations import Generations


async def describe(generations: Generations) -> dict[str, Any]:
    """Return what the index that is searched holds, and which one is being filled."""
    active = generations.active
    found = await active.index.describe()
    filling: dict[str, Any] = {}
    for other in generations.opened:
        if other is not active and other.model == generations.next_model:
            filling["next"] = {"model": other.model, "chunks": await other.index.count()}
    return {
        "engine": found.engine,
        "version": found.version,
        "chunks": found.chunk_points,
        "model": active.model,
        **filling,
    }
