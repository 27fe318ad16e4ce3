"""Vectors of queries that were asked before."""

from collections.abc import Awaitable, Callable

import numpy as np

from services.retriever.index import Vector
from shared.caching.cache import Cache
from shared.caching.caching import Cached
from shared.caching.metrics import CacheMetrics

EmbedText = Callable[[str, float | None], Awaitable[Vector]]

# Vectors are normalised in single precision.
_UNIT_TOLERANCE = 1e-3


class CachedQueryEmbedding:
    """Embeds the queries of tenants with one model, each at most once every `seconds` and process."""

    def __init__(
        self, embed: EmbedText, cache: Cache, *, model: str, dimension: int, seconds: float, metrics: CacheMetrics
    ) -> None:
        self._embed = embed
        self._dimension = dimension
        self._model = model
        self._vectors = Cached[Vector](
            "query-vectors", cache, encode=_encoded, decode=self._decoded, seconds=seconds, metrics=metrics
        )

    async def __call__(self, tenant: str, query: str, deadline: float | None) -> Vector:
        """Return the query's vector, shape (dimension,); raises what embedding raises."""
        return await self._vectors.get_or_make(
            tenant, (self._model, query), lambda: self._embed(query, deadline), deadline=deadline
        )

    def _decoded(self, kept: bytes) -> Vector | None:
        """Return None for what is no unit vector of the model's dimension."""
        if len(kept) != 4 * self._dimension:
            return None
        vector = np.frombuffer(kept, dtype="<f4")
        length = float(np.linalg.norm(vector))
        return vector if abs(length - 1.0) <= _UNIT_TOLERANCE else None


def _encoded(vector: Vector) -> bytes:
    return np.asarray(vector, dtype="<f4").tobytes()
