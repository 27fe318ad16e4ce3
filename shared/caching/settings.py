"""Settings of the services that cache."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from shared.settings import MIB, PlatformSettings

SCHEMES = ("redis", "rediss", "unix")


class RedisSettings(PlatformSettings):
    """The Redis that replicas share."""

    redis_url: str | None = Field(
        default=None, repr=False, description="Redis that replicas share their caches in; none = each its own memory."
    )
    redis_tls_ca: Path | None = Field(
        default=None, description="PEM file of the authority that signed Redis's certificate; none = the system's."
    )
    redis_tls_cert: Path | None = Field(
        default=None, description="PEM file of our own certificate for Redis, for mutual TLS."
    )
    redis_tls_key: Path | None = Field(default=None, description="PEM file of the key of that certificate.")
    redis_timeout_seconds: float = Field(
        default=0.1, gt=0, le=5, description="What a call of Redis may cost; then it counts as failed."
    )
    redis_retry_seconds: float = Field(
        default=5.0, gt=0, le=600, description="How long Redis is left alone after two failures in a row."
    )

    @field_validator("redis_url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in SCHEMES or not url.partition("://")[2]):
            raise ValueError("this is no address of a Redis; it looks like redis://host:6379/0")
        if url is not None and "?" in url:
            raise ValueError("options in the address are not taken: limits are settings of their own")
        return url


class CacheSettings(RedisSettings):
    """Where what is costly to make again is kept."""

    cache_memory_bytes: int = Field(
        default=32 * MIB, ge=MIB, description="Size of the cache in memory, where there is no Redis."
    )
