"""A cache in Redis, shared by all replicas. Redis away means slower, never wrong and never stuck."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from opentelemetry.trace import Tracer
from redis.asyncio import BlockingConnectionPool, Redis

from shared.caching.redis_tls import SETTINGS, have_trust
from shared.circuit import Circuit
from shared.client_spans import database_span
from shared.logs import get_logger
from shared.tls import tls_trouble

log = get_logger(__name__)
T = TypeVar("T")

# A second failure in a row is no hiccup any more.
FAILURES: Final = 2
MAX_CONNECTIONS: Final = 16
# Nothing that is cached is larger; a value of this size still travels well within the limit of a call.
MAX_VALUE_BYTES: Final = 1024 * 1024
CountFailure = Callable[[], None]


class RedisCache:
    """Keeps values in Redis; each call costs at most `timeout_seconds`.

    After two failures in a row, of reading or of writing, that is left alone for `retry_seconds`, in which nothing is
    found or nothing kept. `failed` is called for every failure.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        retry_seconds: float,
        failed: CountFailure,
        trust: ssl.SSLContext | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        # Callers wait for a free connection rather than fail; the limit below covers that as well.
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            # One layer owns the trying again: the circuits below.
            retry=None,
        )
        have_trust(self._pool, trust)
        self._redis = Redis(connection_pool=self._pool)
        self._timeout_seconds = timeout_seconds
        self._failed = failed
        # A Redis that is full, or a replica, reads well and writes nothing.
        self._reading = Circuit("redis-read", failures=FAILURES, open_seconds=retry_seconds)
        self._writing = Circuit("redis-write", failures=FAILURES, open_seconds=retry_seconds)
        self._away = False
        self._trouble: str | None = None

    async def get(self, key: str) -> bytes | None:
        """Return what is kept under a key; see `Cache`."""
        found = await self._tried(self._reading, "GET", lambda: self._redis.get(key))
        return found if isinstance(found, bytes) else None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value; see `Cache`. One over a MiB is not kept."""
        if len(value) <= MAX_VALUE_BYTES:
            milliseconds = max(1, int(seconds * 1000))
            await self._tried(self._writing, "SET", lambda: self._redis.set(key, value, px=milliseconds))

    async def describe(self) -> dict[str, Any]:
        """Return whether Redis answers now, and takes what it is given."""
        answers = await self._tried(self._reading, "PING", self._redis.ping)
        if answers and self._writing.closed:
            return {"kind": "redis", "state": "ok"}
        return {"kind": "redis", "state": "away", **({"reason": self._trouble} if self._trouble else {})}

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._pool.aclose()

    async def _tried(self, circuit: Circuit, command: str, call: Callable[[], Awaitable[T]]) -> T | None:
        if not circuit.admits():
            return None
        try:
            # The socket's own limit is for each read; an answer that trickles in would take for ever.
            with circuit.watching(), database_span(self._tracer, "redis", command):
                async with asyncio.timeout(self._timeout_seconds):
                    found = await call()
        except Exception as error:  # Garbage where an answer should be breaks the client in ways of its own.
            self._failed()
            self._tell(error)
            return None
        self._tell(None)
        return found

    def _tell(self, error: Exception | None) -> None:
        """Say once that Redis went away, and once that it is back."""
        self._trouble = tls_trouble(error, SETTINGS) if error else None
        away = not (self._reading.closed and self._writing.closed)
        if away and not self._away:
            log.warning("cache_away", error=self._trouble or type(error).__name__)
        elif self._away and not away:
            log.info("cache_back")
        self._away = away
