"""How many wrong credentials of one address are checked.

Nobody guesses keys at full speed, or has the signatures of bad tokens checked without end.
"""

import secrets
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from cachetools import TTLCache
from opentelemetry.metrics import Counter
from starlette.types import Scope

from services.gateway.problems import RequestProblem
from services.gateway.rate_limits import PERIOD_SECONDS
from services.gateway.throttled_counts import LocalCounts

LIMIT: Final = "address"
CODE: Final = "rate_limited"
# Who was known a moment ago goes on, although somebody behind the same proxy guesses.
PROVEN_SECONDS: Final = 600.0
MAX_PROVEN: Final = 50_000
# What one subscriber of an IPv6 network has for himself.
_IPV6_PREFIX: Final = 64


class FailedAttempts:
    """Counts, for each address, credentials that were wrong; a bucket of `per_minute`, 0 for no bound.

    Each replica counts for itself. A credential that was right within ten minutes is never held up.
    """

    def __init__(self, counts: LocalCounts, hits: Counter, *, per_minute: int) -> None:
        self._counts = counts
        self._hits = hits
        self._per_minute = per_minute
        self._proven: TTLCache[bytes, bool] = TTLCache(MAX_PROVEN, PROVEN_SECONDS)
        self._secret = secrets.token_bytes(32)
        hits.add(0, {"limit": LIMIT})

    async def require_place(self, scope: Scope, credential: str | None) -> None:
        """Raise RequestProblem 429 where the address has sent so many wrong ones that no other is checked now."""
        if not self._per_minute or credential is None or self._digest(credential) in self._proven:
            return
        standing = await self._counts.standing(LIMIT, address_of(scope), self._per_minute)
        if not standing.refused:
            return
        self._hits.add(1, {"limit": LIMIT})
        raise RequestProblem(
            429,
            CODE,
            f"{self._per_minute} wrong keys or tokens came from this address within {PERIOD_SECONDS} s; "
            "others are not looked at now: wait, and send a right one",
            extra={"limit": LIMIT},
            retry_after_seconds=standing.retry_seconds,
        )

    async def failed(self, scope: Scope, credential: str | None) -> None:
        """Count a wrong credential; none at all is no attempt, for there was nothing to check."""
        if self._per_minute and credential is not None:
            # One that is revoked now was right a moment ago.
            self._proven.pop(self._digest(credential), None)
            await self._counts.take(LIMIT, address_of(scope), self._per_minute)

    def proven(self, credential: str | None) -> None:
        """Remember a credential that was right, by a digest that is worth nothing elsewhere."""
        if self._per_minute and credential is not None:
            self._proven[self._digest(credential)] = True

    def _digest(self, credential: str) -> bytes:
        return blake2b(credential.encode("utf-8", "surrogateescape"), key=self._secret, digest_size=16).digest()


def address_of(scope: Scope) -> str:
    """Return who is counted: an IPv4 address, or the network of an IPv6 one; all without any together."""
    client = scope.get("client")
    try:
        address = ip_address(str(client[0]).partition("%")[0] if client else "")
    except ValueError:
        return "unknown"
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, _IPV6_PREFIX), strict=False))
