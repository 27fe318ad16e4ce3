"""Looking a value up before it is made, and making it once however many ask for it at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from shared.caching.cache import Cache, cache_key
from shared.caching.metrics import CacheMetrics

V = TypeVar("V")

Encode = Callable[[V], bytes]
Decode = Callable[[bytes], V | None]


class Cached(Generic[V]):
    """Values of one kind in a cache, each for at most `seconds`; `decode` returns None for what is no such value.

    Within this process a value that is being made is waited for by everybody else who wants it; other processes may
    make it as well, which costs time and changes nothing.
    """

    def __init__(
        self, name: str, cache: Cache, *, encode: Encode[V], decode: Decode[V], seconds: float, metrics: CacheMetrics
    ) -> None:
        self._name, self._cache, self._seconds = name, cache, seconds
        self._encode, self._decode = encode, decode
        self._metrics = metrics
        self._being_made: dict[str, asyncio.Future[V]] = {}

    async def get_or_make(self, tenant: str, parts: tuple[str, ...], make: Callable[[], Awaitable[V]]) -> V:
        """Return the value of a tenant's key, made now if nobody has it; raises what making it raises."""
        key = cache_key(self._name, tenant, *parts)
        found = await self._look_up(key)
        if found is not None:
            return found
        if (other := self._being_made.get(key)) is not None:
            await asyncio.wait([other])
            if not other.cancelled() and other.exception() is None:
                return other.result()
            # The other one's deadline may have been shorter, or its caller may have gone.
            return await make()
        return await self._make(key, make)

    async def _look_up(self, key: str) -> V | None:
        kept = await self._cache.get(key)
        value = self._decode(kept) if kept is not None else None
        self._metrics.looked_up(self._name, "hit" if value is not None else "miss" if kept is None else "garbage")
        return value

    async def _make(self, key: str, make: Callable[[], Awaitable[V]]) -> V:
        being_made: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._being_made[key] = being_made
        try:
            value = await make()
        except BaseException:
            being_made.cancel()
            raise
        finally:
            del self._being_made[key]
        being_made.set_result(value)
        await self._cache.set(key, self._encode(value), self._seconds)
        return value
