"""Dead letters sent again or discarded: the message first, then the letter, then the payload that went beside it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from opentelemetry.trace import Tracer

from contracts import subjects
from contracts.dead_letters import ReplayOutcome
from contracts.topology import PARSER
from services.persistence import letters, replay_rules
from services.persistence.dead_letter import DeadLetter
from services.persistence.intake import object_of
from services.persistence.nats_ingest import NatsIngest
from services.persistence.nats_streams import NatsStreams
from services.persistence.read_pool import ReadPool
from services.persistence.unit_of_work import GroupCommit
from shared import semantics
from shared.errors import Conflict, NotFound, Overloaded, PlatformError, Rejected, Retryable, StreamMoved, Unavailable
from shared.logs import get_logger
from shared.messaging.publishing import Published, Publisher
from shared.telemetry import current_trace_id, links_to, span

log = get_logger(__name__)

# Each attempt is lost to a document that came in within some milliseconds.
MAX_ATTEMPTS: Final = 50
REMOVE_SECONDS: Final = 10.0


class Replays:
    """Sends letters again and removes them; what is refused or fails keeps its letter."""

    def __init__(
        self,
        writer: GroupCommit,
        pool: ReadPool,
        publisher: Publisher,
        streams: NatsStreams,
        ingest: NatsIngest,
        tracer: Tracer,
    ) -> None:
        self._writer = writer
        self._pool = pool
        self._publisher = publisher
        self._streams = streams
        self._ingest = ingest
        self._tracer = tracer
        # Two requests about the same letter must not get in each other's way; replicas are kept apart by message ids.
        self._one_at_a_time = asyncio.Lock()

    async def replay_all(self, tenant: str, sequences: Sequence[int]) -> list[ReplayOutcome]:
        """Send letters again one after the other, up to the first that fails for a reason which the next shares."""
        outcomes: list[ReplayOutcome] = []
        for sequence in sequences:
            async with self._one_at_a_time:
                outcomes.append(await self._replay(tenant, sequence))
            if outcomes[-1].status == "failed":
                break
        return outcomes

    async def discard(self, tenant: str, sequence: int) -> None:
        """Remove a letter for good, and the upload that only its document's failed revision needed; else NotFound."""
        async with self._one_at_a_time:
            letter = await self._pool.run(partial(letters.find, tenant=tenant, sequence=sequence))
            upload = await self._upload_of(letter)
            await self._remove(letter)
            if upload is not None:
                await self._streams.discard(upload)
        log.info("dead_letter_discarded", letter=sequence, code=letter.code)

    async def _replay(self, tenant: str, sequence: int) -> ReplayOutcome:
        """Send a letter again under a trace of its own, which is linked to the one where it died, and remove it."""
        try:
            letter = await self._pool.run(partial(letters.find, tenant=tenant, sequence=sequence))
            document = await self._pool.run(partial(letters.document_of, letter=letter))
            with span(self._tracer, semantics.REPLAY, links=links_to(letter.traceparent)):
                outcome = _replayed(letter, document, await self._send(letter))
        except NotFound as error:
            return _not_replayed(sequence, "missing", error)
        except Rejected as error:
            return _not_replayed(sequence, "refused", error)
        except Retryable as error:
            return _not_replayed(sequence, "failed", error)
        log.info("dead_letter_replayed", letter=sequence, stream=letter.stream, sequence=outcome.sequence)
        await self._remove_sent(letter)
        return outcome

    async def _send(self, letter: DeadLetter) -> Published:
        _check(replay_rules.refusal_of(letter))
        if self._writer.outage is not None:
            # The letter could not be removed once its message is sent.
            raise Unavailable(self._writer.outage, code="database_unavailable")
        payload = await self._streams.payload_of(letter)
        if payload is None:
            raise _conflict(replay_rules.PAYLOAD_MISSING)
        if letter.stream != replay_rules.INGEST:
            await self._check_revision(letter)
            return await self._publish(letter, payload, {})
        upload = object_of(payload)
        if upload is not None and not await self._streams.holds(upload):
            raise _conflict(replay_rules.PAYLOAD_MISSING)
        return await self._send_as_last_write(letter, payload)

    async def _send_as_last_write(self, letter: DeadLetter, payload: bytes) -> Published:
        """Publish on INGEST only if no later write to the document was accepted up to that very moment."""
        after = await self._ingest.recorded()
        for _ in range(MAX_ATTEMPTS):
            last = await self._ingest.last()
            # In this order: what is gone from the stream when it is read has been recorded before.
            await self._look_for_later_write(letter, after, last)
            await self._check_revision(letter)
            try:
                return await self._publish(letter, payload, {subjects.HEADER_EXPECTED_SEQUENCE: str(last)})
            except StreamMoved:
                after = last
        raise Overloaded("documents come in too fast to tell which write is the last; try again later")

    async def _look_for_later_write(self, letter: DeadLetter, after: int, until: int) -> None:
        async for message in self._ingest.messages(letter.tenant, after, until):
            headers = message.headers or {}
            identity = headers.get(subjects.HEADER_MESSAGE_ID)
            _check(replay_rules.later_write(letter, message.seq or 0, identity, message.data or b"", datetime.now(UTC)))

    async def _check_revision(self, letter: DeadLetter) -> None:
        document = await self._pool.run(partial(letters.document_of, letter=letter))
        _check(replay_rules.outdated(letter, document.revision))

    async def _publish(self, letter: DeadLetter, payload: bytes, headers: dict[str, str]) -> Published:
        return await self._publisher.publish_bytes(
            letter.subject,
            payload,
            tenant=letter.tenant,
            message_id=replay_rules.message_id_of(letter),
            headers={**replay_rules.headers_of(letter), **headers},
        )

    async def _remove_sent(self, letter: DeadLetter) -> None:
        """The message is on its way: a letter that stays behind is refused or repeats what is done, so it may wait."""
        try:
            await self._remove(letter)
        except Unavailable as error:
            log.warning("dead_letter_not_removed", letter=letter.sequence, reason=error)

    async def _remove(self, letter: DeadLetter) -> None:
        await self._streams.forget(letter.sequence)
        try:
            async with asyncio.timeout(REMOVE_SECONDS):
                await self._writer.run(f"letter {letter.sequence}", partial(letters.remove, letter=letter))
        except TimeoutError:
            raise Unavailable("the database does not take writes at present", code="database_unavailable") from None
        if letter.object_name is not None:
            await self._streams.discard(letter.object_name)

    async def _upload_of(self, letter: DeadLetter) -> str | None:
        """Return the upload that a discarded letter leaves behind, unless another message may still need it."""
        if letter.consumer != PARSER.name or letter.document_id is None:
            return None
        document = await self._pool.run(partial(letters.document_of, letter=letter))
        if document.revision != letter.revision:
            return None
        return object_of(await self._streams.payload_of(letter) or b"")


def _check(refusal: replay_rules.Refusal | None) -> None:
    if refusal is not None:
        raise _conflict(refusal)


def _conflict(refusal: replay_rules.Refusal) -> Conflict:
    return Conflict(refusal.message, code=refusal.code)


def _replayed(letter: DeadLetter, document: letters.KnownDocument, published: Published) -> ReplayOutcome:
    new_revision = letter.stream == replay_rules.INGEST
    return ReplayOutcome(
        seq=letter.sequence,
        status="replayed",
        stream=letter.stream,
        sequence=published.sequence,
        document_id=letter.document_id,
        revision=published.sequence if new_revision else letter.revision,
        collection=document.collection,
        trace_id=current_trace_id(),
    )


def _not_replayed(sequence: int, status: str, error: PlatformError) -> ReplayOutcome:
    fields = {"seq": sequence, "status": status, "code": error.error_code, "message": error.message}
    return ReplayOutcome.model_validate(fields)
