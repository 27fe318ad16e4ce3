"""TLS to Redis, with the authority that the settings name and no other."""

import ssl
from typing import Any, Final

from redis.asyncio import ConnectionPool, SSLConnection

from shared.caching.settings import RedisSettings
from shared.tls import client_context, context_of

SETTINGS: Final = "RAG_REDIS_TLS"
SCHEME: Final = "rediss"


class TrustingConnection(SSLConnection):
    """A connection that takes our own context; the client's would trust the system's authorities as well."""

    def __init__(self, *, trust: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = trust


def redis_trust(settings: RedisSettings) -> ssl.SSLContext | None:
    """Return what TLS needs where the address says `rediss://`, else None; Misconfigured when it does not fit."""
    trust = context_of(settings, "redis_tls", "redis_url", SCHEME)
    if trust is None and (settings.redis_url or "").startswith(f"{SCHEME}://"):
        return client_context(SETTINGS, None)
    return trust


def have_trust(pool: ConnectionPool, trust: ssl.SSLContext | None) -> None:
    """Have every connection that a pool makes from now on trust this; None leaves it as it is."""
    if trust is not None:
        # The address decides which class a pool is made with, so that it can't be named before.
        pool.connection_class = TrustingConnection
        pool.connection_kwargs["trust"] = trust
