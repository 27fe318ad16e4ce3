"""How often somebody may call: the limits, where a caller stands with each of them, and what the answer says of it."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Protocol

PERIOD_SECONDS: Final = 60
_DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a caller stands with one limit; a request that is `refused` did not count.

    `remaining` requests are free now, `reset_seconds` until all are, `retry_seconds` until one is when it is refused.
    """

    limit: str
    per_minute: int
    remaining: int
    reset_seconds: float
    refused: bool = False
    retry_seconds: float = 0.0


class Counts(Protocol):
    """Counts requests; it never fails."""

    async def take(self, limit: str, key: str, per_minute: int) -> Standing:
        """Count one request of a caller, whose `key` tells who it is, unless the limit is reached."""
        ...


class RateLimits:
    """The limits of requests per minute of a key and of a tenant; 0 stands for none."""

    def __init__(self, counts: Counts, *, key_per_minute: int, tenant_per_minute: int) -> None:
        self._counts = counts
        self._key_per_minute = key_per_minute
        self._tenant_per_minute = tenant_per_minute

    async def take(self, tenant: str, key_id: str | None) -> list[Standing]:
        """Count a request with every limit that holds for its caller, all at once; without a key only the tenant."""
        held = self._holding(tenant, key_id)
        if len(held) <= 1:
            return [await self._counts.take(*one) for one in held]
        return await asyncio.gather(*(self._counts.take(*one) for one in held))

    def _holding(self, tenant: str, key_id: str | None) -> list[tuple[str, str, int]]:
        found = []
        if self._key_per_minute and key_id is not None:
            found.append(("key", _key("key", tenant, key_id), self._key_per_minute))
        if self._tenant_per_minute:
            found.append(("tenant", _key("tenant", tenant), self._tenant_per_minute))
        return found


def refusal_in(standings: Sequence[Standing]) -> Standing | None:
    """Return the limit that refuses a request, of two the one that does so for longer."""
    refusing = [standing for standing in standings if standing.refused]
    return max(refusing, key=lambda standing: standing.retry_seconds, default=None)


def headers_of(standings: Sequence[Standing]) -> dict[str, str]:
    """Return the fields of draft-ietf-httpapi-ratelimit-headers: the limits, and what is left of them."""
    policies = (f'"{one.limit}";q={one.per_minute};w={PERIOD_SECONDS}' for one in standings)
    states = (f'"{one.limit}";r={one.remaining};t={math.ceil(one.reset_seconds)}' for one in standings)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


def _key(*parts: str) -> str:
    """Return a key that tells neither tenant nor key."""
    return "rate:" + blake2b("\x00".join(parts).encode(), digest_size=_DIGEST_BYTES).hexdigest()
