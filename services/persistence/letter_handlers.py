"""What is answered about dead letters."""

from functools import partial
from typing import Final

from contracts.dead_letters import (
    DeadLetterContent,
    DeadLetterListQuery,
    DeadLetterPage,
    DeadLetterQuery,
    DiscardReply,
    DiscardRequest,
    ReplayReply,
    ReplayRequest,
)
from services.persistence import letters
from services.persistence.dead_letter import DeadLetter
from services.persistence.nats_streams import NatsStreams
from services.persistence.read_pool import ReadPool
from services.persistence.replaying import Replays
from shared.telemetry import trace_id_in

# With what base64 adds, and the headers, it must fit the broker's payload limit.
MAX_SHOWN_BYTES: Final = 256 * 1024


class LetterHandlers:
    """One method per request; `max_page_bytes` bounds a page."""

    def __init__(self, pool: ReadPool, streams: NatsStreams, replays: Replays, *, max_page_bytes: int) -> None:
        self._pool = pool
        self._streams = streams
        self._replays = replays
        self._max_page_bytes = max_page_bytes

    async def on_list(self, query: DeadLetterListQuery, _deadline: float | None) -> DeadLetterPage:
        """Return a page of letters."""
        return await self._pool.run(partial(letters.page, query=query, max_bytes=self._max_page_bytes))

    async def on_read(self, query: DeadLetterQuery, _deadline: float | None) -> DeadLetterContent:
        """Return one letter with its message."""
        letter = await self._pool.run(partial(letters.find, tenant=query.tenant, sequence=query.seq))
        return _content_of(letter, await self._streams.payload_of(letter))

    async def on_replay(self, request: ReplayRequest, _deadline: float | None) -> ReplayReply:
        """Send letters again."""
        return ReplayReply(outcomes=await self._replays.replay_all(request.tenant, request.seqs))

    async def on_discard(self, request: DiscardRequest, _deadline: float | None) -> DiscardReply:
        """Remove a letter."""
        await self._replays.discard(request.tenant, request.seq)
        return DiscardReply(seq=request.seq)


def _content_of(letter: DeadLetter, payload: bytes | None) -> DeadLetterContent:
    return DeadLetterContent(
        seq=letter.sequence,
        consumer=letter.consumer,
        subject=letter.subject,
        code=letter.code,
        reason=letter.reason,
        field=letter.field,
        error=letter.error,
        deliveries=letter.deliveries,
        document_id=letter.document_id,
        revision=letter.revision,
        trace_id=trace_id_in(letter.traceparent),
        size_bytes=None if payload is None else len(payload),
        created_at=letter.created_at,
        stream=letter.stream,
        stream_sequence=letter.stream_sequence,
        headers=letter.headers,
        payload=(payload or b"")[:MAX_SHOWN_BYTES],
        payload_missing=payload is None,
    )
