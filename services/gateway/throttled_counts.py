"""Counting requests with throttled-py: in this process, or in a Redis for all replicas together."""

import asyncio
import ssl
from functools import lru_cache
from typing import Any, Final

from throttled.asyncio import MemoryStore, RedisStore, Throttled
from throttled.asyncio import rate_limiter as rates
from throttled.asyncio.store import BaseStore

from services.gateway.rate_limits import PERIOD_SECONDS, Standing
from shared.caching.redis_tls import SETTINGS, have_trust, redis_trust
from shared.caching.settings import RedisSettings
from shared.circuit import Circuit
from shared.logs import get_logger
from shared.tls import tls_trouble

log = get_logger(__name__)

# A leaky bucket in one number: no edge of a window at which twice the limit gets through.
ALGORITHM: Final = "gcra"
MAX_CALLERS: Final = 50_000
MAX_CONNECTIONS: Final = 16
# A second failure in a row is no hiccup any more.
FAILURES: Final = 2


class LocalCounts:
    """Counts within this process, the `max_callers` that called last."""

    def __init__(self, max_callers: int = MAX_CALLERS) -> None:
        self._limiters = _Limiters(MemoryStore(options={"MAX_SIZE": max_callers}))

    async def take(self, limit: str, key: str, per_minute: int) -> Standing:
        """Count a request; see `Counts`."""
        return await self._limiters.take(limit, key, per_minute)

    async def standing(self, limit: str, key: str, per_minute: int) -> Standing:
        """Return where a caller stands, without counting anything."""
        return await self._limiters.standing(limit, key, per_minute)

    async def close(self) -> None:
        """Hold nothing open."""


class SharedCounts:
    """Counts in Redis, at one round trip a request; while Redis is away each replica counts for itself.

    This replica counts as well, so that it goes on without a gap, and so that whom it refuses by itself costs no trip.
    """

    def __init__(
        self, url: str, *, timeout_seconds: float, retry_seconds: float, trust: ssl.SSLContext | None = None
    ) -> None:
        self._local = LocalCounts()
        self._store = RedisStore(server=url, options=_redis_options(timeout_seconds))
        have_trust(self._client.connection_pool, trust)
        self._limiters = _Limiters(self._store)
        self._timeout_seconds = timeout_seconds
        self._circuit = Circuit("redis-rates", failures=FAILURES, open_seconds=retry_seconds)

    async def take(self, limit: str, key: str, per_minute: int) -> Standing:
        """Count a request; see `Counts`."""
        local = await self._local.take(limit, key, per_minute)
        if local.refused or not self._circuit.admits():
            return local
        was_closed = self._circuit.closed
        try:
            with self._circuit.watching():
                async with asyncio.timeout(self._timeout_seconds):
                    shared = await self._limiters.take(limit, key, per_minute)
        except Exception as error:  # Whatever Redis or its client does: a request is counted here, and goes on.
            if was_closed and not self._circuit.closed:
                log.warning("rates_not_shared", error=tls_trouble(error, SETTINGS) or type(error).__name__)
            return local
        if not was_closed:
            log.info("rates_shared_again")
        return shared

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose(close_connection_pool=True)

    @property
    def _client(self) -> Any:
        return self._store._backend.get_client()


class _Limiters:
    def __init__(self, store: BaseStore) -> None:
        self._store = store
        # There are as many as there are limits.
        self._of = lru_cache(maxsize=16)(self._build)

    async def take(self, limit: str, key: str, per_minute: int) -> Standing:
        result = await self._of(per_minute).limit(key)
        state = result.state
        return Standing(
            limit, per_minute, int(state.remaining), state.reset_after, result.limited, float(state.retry_after)
        )

    async def standing(self, limit: str, key: str, per_minute: int) -> Standing:
        state = await self._of(per_minute).peek(key)
        # What the library tells of the time to come back holds for a request that was counted.
        seconds = state.reset_after - PERIOD_SECONDS * (1 - 1 / per_minute)
        refused = state.remaining < 1
        return Standing(limit, per_minute, int(state.remaining), state.reset_after, refused, max(0.0, seconds))

    def _build(self, per_minute: int) -> Throttled:
        return Throttled(using=ALGORITHM, quota=rates.per_min(per_minute), store=self._store, key_prefix="rag")


def build_counts(settings: RedisSettings) -> LocalCounts | SharedCounts:
    """Return counts in Redis where one is named, else in memory; nothing is connected yet. Misconfigured by its TLS."""
    if settings.redis_url is None:
        return LocalCounts()
    return SharedCounts(
        settings.redis_url,
        timeout_seconds=settings.redis_timeout_seconds,
        retry_seconds=settings.redis_retry_seconds,
        trust=redis_trust(settings),
    )


def _redis_options(timeout_seconds: float) -> dict[str, Any]:
    return {
        "CONNECTION_POOL_CLASS": "redis.asyncio.BlockingConnectionPool",
        # One layer owns the trying again: the circuit.
        "CONNECTION_POOL_KWARGS": {"max_connections": MAX_CONNECTIONS, "timeout": timeout_seconds, "retry": None},
        "SOCKET_TIMEOUT": timeout_seconds,
        "SOCKET_CONNECT_TIMEOUT": timeout_seconds,
    }
