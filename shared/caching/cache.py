"""What a cache offers, and how its keys are made."""

from hashlib import blake2b
from typing import Any, Final, Protocol

# Rises when what is stored changes its form; entries of another version are never read.
FORMAT: Final = 1
_KEY_BYTES: Final = 20


class Cache(Protocol):
    """Keeps bytes for a while. A cache that fails finds nothing and keeps nothing; it raises nothing."""

    async def get(self, key: str) -> bytes | None:
        """Return what is kept under a key, None when there is nothing, or no cache."""
        ...

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value for at most `seconds`."""
        ...

    async def describe(self) -> dict[str, Any]:
        """Return which cache this is and how it does, for people."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def cache_key(name: str, tenant: str, *parts: str) -> str:
    """Return the key of one entry of the cache `name`; it tells neither the tenant nor the parts.

    The tenant is part of every key: what one asked is never found by another, nor told by how fast an answer comes.
    """
    digest = blake2b(digest_size=_KEY_BYTES)
    for part in (tenant, *parts):
        data = part.encode()
        # With its length, so that no two lists of parts run together.
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"rag:{FORMAT}:{name}:{digest.hexdigest()}"
