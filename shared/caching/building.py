"""The cache that the settings name."""

from opentelemetry.trace import Tracer

from shared.caching.cache import Cache
from shared.caching.memory_cache import MemoryCache
from shared.caching.metrics import CacheMetrics
from shared.caching.settings import CacheSettings
from shared.errors import Misconfigured


def build_cache(settings: CacheSettings, metrics: CacheMetrics, tracer: Tracer | None = None) -> Cache:
    """Return Redis where one is named, else memory; nothing is connected yet. Misconfigured for a wrong address."""
    if settings.redis_url is None:
        return MemoryCache(settings.cache_memory_bytes)
    # Loaded where there is a Redis only.
    from shared.caching.redis_cache import RedisCache
    from shared.caching.redis_tls import redis_trust

    trust = redis_trust(settings)
    try:
        return RedisCache(
            settings.redis_url,
            timeout_seconds=settings.redis_timeout_seconds,
            retry_seconds=settings.redis_retry_seconds,
            failed=metrics.failed,
            trust=trust,
            tracer=tracer,
        )
    except ValueError:
        # The words of the client may hold the password.
        raise Misconfigured("RAG_REDIS_URL is no address of a Redis; it looks like redis://host:6379/0") from None
