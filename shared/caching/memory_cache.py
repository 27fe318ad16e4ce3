"""A cache within this process."""

import time
from typing import Any, Final

from cachetools import TLRUCache

# What an entry costs besides its value: the key, and the objects around both.
ENTRY_BYTES: Final = 600

_Entry = tuple[bytes, float]


class MemoryCache:
    """Keeps at most `max_bytes`, the least recently used goes first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: TLRUCache[str, _Entry] = TLRUCache(
            maxsize=max_bytes, ttu=lambda _key, entry, now: now + entry[1], getsizeof=_size, timer=time.monotonic
        )

    async def get(self, key: str) -> bytes | None:
        """Return what is kept under a key; see `Cache`."""
        entry = self._entries.get(key)
        return entry[0] if entry is not None else None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value; one that is larger than the whole cache is not kept."""
        entry = (value, seconds)
        if _size(entry) <= self._max_bytes:
            self._entries[key] = entry

    async def describe(self) -> dict[str, Any]:
        """Return the size of the cache."""
        return {"kind": "memory", "entries": len(self._entries), "bytes": int(self._entries.currsize)}

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()


def _size(entry: _Entry) -> int:
    return len(entry[0]) + ENTRY_BYTES
