"""The epoch of what questions search, asked for many at once.

Questions that come together share a request which began after each of them had come, as transactions share one write of
a log. What is told is never older than a question, and nothing is kept: who comes while a request is on its way waits
for the next one.
"""

import asyncio
import time

from contracts import subjects
from contracts.retrieval import EpochReply, EpochRequest
from services.agent.patience import Ask
from shared.errors import PlatformError
from shared.logs import get_logger

log = get_logger(__name__)

_Searched = tuple[str, str | None]


class Epochs:
    """Asks the retriever through `ask`, which has `seconds` to tell; for what is searched one request at a time."""

    def __init__(self, ask: Ask, *, seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._on_its_way: dict[_Searched, asyncio.Task[str | None]] = {}
        self._not_begun: dict[_Searched, asyncio.Task[str | None]] = {}

    async def of(self, tenant: str, collection: str | None, deadline: float | None = None) -> str | None:
        """Return an epoch that was told after this call; None when it is not told in time (`deadline`: unix seconds).

        Without a collection it is that of all which a tenant has.
        """
        searched = (tenant, collection)
        asking = self._not_begun.get(searched)
        if asking is None:
            asking = asyncio.create_task(self._ask_behind(self._on_its_way.get(searched), searched))
            self._not_begun[searched] = asking
        patience_seconds = min(self._seconds, (deadline or float("inf")) - time.time())
        try:
            async with asyncio.timeout(patience_seconds):
                # Who leaves must not take the request from the others.
                return await asyncio.shield(asking)
        except TimeoutError:
            log.info("answered_without_cache", reason=f"no epoch within {patience_seconds:.1f} s")
            return None

    async def _ask_behind(self, before: asyncio.Task[str | None] | None, searched: _Searched) -> str | None:
        if before is not None:
            await asyncio.wait([before])
        # Whoever comes from here on is too late for this request: it may be told what was before them.
        self._on_its_way[searched] = self._not_begun.pop(searched)
        tenant, collection = searched
        request = EpochRequest(tenant=tenant, collection=collection)
        try:
            reply = await self._ask(subjects.INDEX_EPOCH, request, EpochReply, deadline=time.time() + self._seconds)
        except PlatformError as error:
            log.info("answered_without_cache", code=error.error_code, reason=error)
            return None
        else:
            return reply.epoch
        finally:
            del self._on_its_way[searched]
