"""Looking a value up before it is made, and making it once however many ask for it at the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from shared.caching.cache import Cache, cache_key
from shared.caching.metrics import CacheMetrics
from shared.errors import DeadlineExpired, TakenOver

V = TypeVar("V")

# What ends the making of a value and tells nothing of the value: the first of those who wait makes it then.
_OF_THE_MAKER_ALONE: Final = (DeadlineExpired, TakenOver)

Encode = Callable[[V], bytes]
Decode = Callable[[bytes], V | None]


class Cached(Generic[V]):
    """Values of one kind in a cache, each for at most `seconds`; `decode` returns None for what is no such value.

    Within this process a value that is being made is waited for by everybody else who wants it, and so is its failure;
    other processes may make it as well, which costs time and changes nothing.
    """

    def __init__(
        self, name: str, cache: Cache, *, encode: Encode[V], decode: Decode[V], seconds: float, metrics: CacheMetrics
    ) -> None:
        self._name, self._cache, self._seconds = name, cache, seconds
        self._encode, self._decode = encode, decode
        self._metrics = metrics
        metrics.expect(name)
        self._being_made: dict[str, asyncio.Future[V]] = {}

    async def get_or_make(
        self,
        tenant: str,
        parts: tuple[str, ...],
        make: Callable[[], Awaitable[V]],
        *,
        deadline: float | None = None,
        missed: Callable[[], Awaitable[None]] | None = None,
    ) -> V:
        """Return the value of a tenant's key, made now if nobody has it; raises what making it raises.

        `deadline` is unix seconds; DeadlineExpired when somebody else is still making the value by then. `missed` is
        called first when the value is not there, whoever makes it.
        """
        key = cache_key(self._name, tenant, *parts)
        found = await self._look_up(key)
        if found is not None:
            return found
        if missed is not None:
            await missed()
        while (other := self._being_made.get(key)) is not None:
            await _done(other, deadline)
            if other.cancelled():
                continue  # Its caller went away, or had less time: the first of those who wait takes over.
            return other.result()
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
            being_made.set_result(value)
            # Until it is kept, whoever asks takes it from here.
            await self._cache.set(key, self._encode(value), self._seconds)
            return value
        except _OF_THE_MAKER_ALONE:
            being_made.cancel()
            raise
        except Exception as error:
            if not being_made.done():
                being_made.set_exception(error)
                being_made.exception()  # Nobody may be waiting for it.
            raise
        finally:
            being_made.cancel()
            del self._being_made[key]


async def _done(other: "asyncio.Future[V]", deadline: float | None) -> None:
    remaining = None if deadline is None else max(0.0, deadline - time.time())
    done, _ = await asyncio.wait([other], timeout=remaining)
    if not done:
        raise DeadlineExpired("no time left: the same value is still being made for somebody else")
