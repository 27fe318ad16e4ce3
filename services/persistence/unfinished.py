"""Finds documents that wait for a message which is no more, and says so, for their producer to send them again.

Such a message was in a stream that is lost: with the store of a broker that kept it once, or with a stream that
somebody removed. A document is looked at when its message was in an INGEST that is no more, or when the parser is
through with it and it has not moved for long. It counts as lost once every queue behind the parser has been worked off
and it still stands where it stood. Should a report come after all, the document goes on as if nothing had been said.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Protocol

from contracts.reconciliation import Outcome, ReconcileFinding
from services.persistence.comparison import DocumentKey
from services.persistence.events import DocumentEvent, Failed, Refused
from services.persistence.places import Place
from services.persistence.read_pool import ReadPool
from services.persistence.unfinished_reads import Unfinished, unfinished_after, unfinished_among

MESSAGE_LOST: Final = "message_lost"
_REASON: Final = "its message is in no queue any more, which the broker lost; send the document again"
PAGE_DOCUMENTS: Final = 200


@dataclass(frozen=True, slots=True)
class Reached:
    """How far INGEST is worked off: what came before `first` is in no INGEST, the parser is through up to `parsed`."""

    first: int
    parsed: int


class Queues(Protocol):
    """What is on its way; every call may raise Unavailable."""

    async def reached(self) -> Reached:
        """Return how far INGEST is worked off."""
        ...

    async def worked_off(self, patience_seconds: float) -> bool:
        """Wait until what the parser put out before the call has come to its end; false when that takes too long."""
        ...


Fail = Callable[[DocumentEvent], Awaitable[None]]


class UnfinishedDocuments:
    """Looks at pages of documents; `fail` records what becomes of one."""

    def __init__(
        self, pool: ReadPool, queues: Queues, fail: Fail, *, settle_seconds: float, quiet_seconds: float
    ) -> None:
        self._pool = pool
        self._queues = queues
        self._fail = fail
        self._settle_seconds = settle_seconds
        self._quiet_seconds = quiet_seconds

    async def page(self, after: Place) -> tuple[Place | None, list[ReconcileFinding]]:
        """Look at a page of documents; return the place behind it, None at the end, and what was found."""
        reached = await self._queues.reached()
        quiet_since = datetime.now(UTC) - timedelta(seconds=self._quiet_seconds)
        read = partial(unfinished_after, after=after.key, limit=PAGE_DOCUMENTS)
        found = await self._pool.run(read)
        place = after.after_key(found[-1].key) if len(found) == PAGE_DOCUMENTS else None
        suspects = [each for each in found if _may_be_lost(each, reached, quiet_since)]
        return place, await self._settle(suspects) if suspects else []

    async def _settle(self, suspects: Sequence[Unfinished]) -> list[ReconcileFinding]:
        """Look a second time; what moved meanwhile is not lost."""
        worked_off = await self._queues.worked_off(self._settle_seconds)
        keys: list[DocumentKey] = [each.key for each in suspects]
        still = await self._pool.run(partial(unfinished_among, keys=keys))
        lost = [each for each in suspects if each in still]
        if not worked_off:
            return [_finding(each, "in_flight") for each in lost]
        for each in lost:
            await self._fail(_loss(each))
        return [_finding(each, "send_again") for each in lost]


def _may_be_lost(document: Unfinished, reached: Reached, quiet_since: datetime) -> bool:
    if document.revision < reached.first:
        return True
    # Intake may still come to the message itself, however late it is.
    return not document.ahead and document.revision <= reached.parsed and document.updated_at < quiet_since


def _loss(document: Unfinished) -> DocumentEvent:
    kind = Refused if document.ahead else Failed
    return kind(
        tenant=document.tenant,
        document_id=document.document_id,
        revision=document.revision,
        at=datetime.now(UTC),
        code=MESSAGE_LOST,
        message=_REASON,
    )


def _finding(document: Unfinished, outcome: Outcome) -> ReconcileFinding:
    return ReconcileFinding(
        kind="unfinished",
        outcome=outcome,
        tenant=document.tenant,
        document_id=document.document_id,
        revision=document.revision,
        expected=document.chunks,
        found=document.chunks_indexed,
    )
