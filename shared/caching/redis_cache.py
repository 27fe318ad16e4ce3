"""A cache in Redis, shared by all replicas. Redis away means slower, never wrong and never stuck."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from shared.logs import get_logger

log = get_logger(__name__)
T = TypeVar("T")

# A second failure in a row is no hiccup any more.
FAILURES: Final = 2
MAX_CONNECTIONS: Final = 16
_CIRCUIT: Final = "redis"
_CLOSED: Final = "closed"
CountFailure = Callable[[], None]


class RedisCache:
    """Keeps values in Redis; each call costs at most `timeout_seconds`.

    After two failures in a row Redis is left alone for `retry_seconds`, in which nothing is found and nothing kept.
    `failed` is called for every failure.
    """

    def __init__(self, url: str, *, timeout_seconds: float, retry_seconds: float, failed: CountFailure) -> None:
        # Callers wait for a free connection rather than fail; the limit below covers that as well.
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            # One layer owns the trying again: the circuit below.
            retry=None,
        )
        self._redis = Redis(connection_pool=self._pool)
        self._timeout_seconds = timeout_seconds
        self._failed = failed
        self._breakers = AsyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=retry_seconds)

    async def get(self, key: str) -> bytes | None:
        """Return what is kept under a key; see `Cache`."""
        found = await self._tried(lambda: self._redis.get(key))
        return found if isinstance(found, bytes) else None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value; see `Cache`."""
        await self._tried(lambda: self._redis.set(key, value, px=max(1, int(seconds * 1000))))

    async def describe(self) -> dict[str, Any]:
        """Return whether Redis answers."""
        breaker = await self._breakers.get_breaker(_CIRCUIT)
        return {"kind": "redis", "state": "ok" if breaker.context.state == _CLOSED else "away"}

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._pool.aclose()

    async def _tried(self, call: Callable[[], Awaitable[T]]) -> T | None:
        breaker = await self._breakers.get_breaker(_CIRCUIT)
        was_closed = breaker.context.state == _CLOSED
        try:
            # The socket's own limit is for each read; an answer that trickles in would take for ever.
            async with breaker, asyncio.timeout(self._timeout_seconds):
                found = await call()
        except OpenedState:
            return None
        # Garbage where an answer should be breaks the client in ways of its own.
        except (RedisError, OSError, TimeoutError, ValueError, AttributeError, IndexError, TypeError) as error:
            self._failed()
            if was_closed and breaker.context.state != _CLOSED:
                log.warning("cache_away", error=type(error).__name__)
            return None
        if not was_closed:
            log.info("cache_back")
        return found
