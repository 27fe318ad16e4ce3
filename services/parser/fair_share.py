"""Whose turn it is: tenants share a queue by bytes, whatever the number and size of their documents.

Start-time fair queueing: each tenant has spent what was queued for it, and the one that spent least goes first. A
tenant that was away begins where the last turn began, so that absence saves up nothing and costs nothing.
"""

from collections.abc import Iterable
from typing import Final

# Beyond this many, tenants that have not spent more than a newcomer are forgotten: they would begin at the same place.
REMEMBERED_TENANTS: Final = 1_000


class FairShare:
    """What each tenant has spent, in bytes."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}
        self._begin = 0.0

    def next_of(self, tenants: Iterable[str]) -> str:
        """Return the tenant that has spent least, the first of several; ValueError when there is none."""
        return min(tenants, key=self._start)

    def spend(self, tenant: str, size_bytes: int) -> None:
        """Record that `size_bytes` were queued for a tenant."""
        self._begin = self._start(tenant)
        self._spent[tenant] = self._begin + size_bytes
        if len(self._spent) > REMEMBERED_TENANTS:
            self._spent = {name: spent for name, spent in self._spent.items() if spent > self._begin}

    def _start(self, tenant: str) -> float:
        return max(self._begin, self._spent.get(tenant, 0.0))
