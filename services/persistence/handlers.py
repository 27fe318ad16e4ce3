"""What is consumed: read the message, store what it means, publish what follows from it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial

from contracts import subjects
from contracts.codec import decode
from contracts.documents import DEFAULT_COLLECTION
from contracts.facts import ChunksIndexed, DocumentParsed
from contracts.retrieval import FenceReply, FenceRequest
from contracts.topology import DEAD_LETTERS
from services.persistence import reads
from services.persistence.advisories import MaxDeliveries
from services.persistence.announcements import Announcement
from services.persistence.dead_letter import document_events, read_dead_letter
from services.persistence.events import BatchIndexed, CollectionDeleted, DeleteAccepted, DocumentEvent, Parsed
from services.persistence.intake import read_message
from services.persistence.nats_streams import NatsStreams
from services.persistence.read_pool import ReadPool
from services.persistence.recording import idempotency_row, key_of, record, record_dead_letter, record_message
from services.persistence.revision_guard import Admits
from services.persistence.sweeping import Sweeping
from services.persistence.unit_of_work import GroupCommit
from shared.errors import DeadlineExpired, InvalidMessage, Unavailable
from shared.logs import bind_document, get_logger
from shared.messaging.delivery import Delivery
from shared.messaging.publishing import Publisher
from shared.messaging.requests import Requester

log = get_logger(__name__)


class MessageHandlers:
    """One method per consumer; each publishes after its commit and before its message is acknowledged."""

    def __init__(
        self,
        writer: GroupCommit,
        pool: ReadPool,
        publisher: Publisher,
        requester: Requester,
        streams: NatsStreams,
        sweeping: Sweeping,
        admits: Admits,
    ) -> None:
        self._writer = writer
        self._pool = pool
        self._publisher = publisher
        self._requester = requester
        self._streams = streams
        self._sweeping = sweeping
        self._admits = admits

    async def on_ingest(self, delivery: Delivery) -> None:
        """Record a document; a message that breaks the schema is buried by the parser's consumer, not by this one."""
        try:
            tenant = delivery.tenant
        except InvalidMessage as error:
            log.warning("message_of_no_tenant", reason=error)
            return
        event = read_message(tenant, delivery.sequence, delivery.payload, _now(), delivery.headers)
        if event is None:
            log.warning("message_of_no_document")
            return
        bind_document(event)
        if not await self._admits(delivery.sequence):
            log.error("message_lost", hint="send it again")
            return
        if isinstance(event, CollectionDeleted):
            await self._sweeping.begin(event)
            return
        if isinstance(event, DeleteAccepted):
            await self._hide(event)
        key = idempotency_row(delivery.headers, delivery.payload, event)
        unit = partial(record_message, event=event, key=key)
        await self._announce(await self._writer.run(key_of(tenant, event.document_id), unit))
        if not isinstance(event, DeleteAccepted):
            await self._sweeping.catch_up(event, event.collection or DEFAULT_COLLECTION)

    async def on_fact(self, delivery: Delivery) -> None:
        """Record how far a document has come; every other fact is somebody else's or our own."""
        event = _event_of(delivery)
        if event is not None:
            bind_document(event)
            unit = partial(record, events=[event])
            await self._announce(await self._writer.run(key_of(event.tenant, event.document_id), unit))

    async def on_dead_letter(self, delivery: Delivery) -> None:
        """Record a dead letter, and that its document failed."""
        if delivery.subject == subjects.dead(DEAD_LETTERS.name):
            # Its letter is still in the stream. Burying this one too would bring it back here for ever.
            log.error("dead_letter_not_recorded", original=delivery.headers.get(subjects.HEADER_DEAD_SEQUENCE))
            return
        buried_at = datetime.fromtimestamp(delivery.published_at, UTC)
        letter = read_dead_letter(delivery.sequence, delivery.subject, delivery.headers, delivery.payload, buried_at)
        payload = await self._streams.payload_of(letter) or b""
        events = document_events(letter, payload, _now())
        unit = partial(record_dead_letter, row=letter.about(payload, events).row(), events=events)
        key = key_of(events[0].tenant, events[0].document_id) if events else f"letter {letter.sequence}"
        await self._announce(await self._writer.run(key, unit))

    async def on_advisory(self, advisory: MaxDeliveries, _delivery: Delivery) -> None:
        """Make a dead letter of a message that ended every try in a crash or without an answer."""
        consumer = advisory.bereaved()
        if consumer is None:
            log.error("message_given_up", consumer=advisory.consumer, stream=advisory.stream, at=advisory.stream_seq)
            return
        original = await self._streams.message(consumer, advisory.stream_seq, advisory.deliveries)
        if original is None:
            return
        known = partial(reads.is_buried, consumer=consumer.name, stream=consumer.stream, sequence=advisory.stream_seq)
        if not await self._pool.run(known):
            await self._streams.bury(original, advisory.reason())
        await self._streams.remove(consumer, advisory.stream_seq)

    async def _hide(self, event: DeleteAccepted) -> None:
        """Have the index hide the document before anybody can read that it is deleted."""
        request = FenceRequest(tenant=event.tenant, document_id=event.document_id, floor=event.revision)
        try:
            await self._requester.ask(subjects.INDEX_FENCE, request, FenceReply)
        except DeadlineExpired as error:
            # Nobody waits for this request any more, but the delete itself must not be dropped.
            raise Unavailable("the index did not hide the document in time") from error

    async def _announce(self, announcements: Iterable[Announcement]) -> None:
        await announce(self._publisher, announcements)


async def announce(publisher: Publisher, announcements: Iterable[Announcement]) -> None:
    """Publish what follows from a commit."""
    for announcement in announcements:
        await publisher.publish_fact(announcement.fact, part=announcement.part)


def _event_of(delivery: Delivery) -> DocumentEvent | None:
    if delivery.subject == subjects.DOCUMENT_PARSED:
        parsed = decode(DocumentParsed, delivery.payload)
        return Parsed(
            tenant=delivery.tenant,
            document_id=parsed.document_id,
            revision=parsed.revision,
            at=_now(),
            batches=parsed.batches,
            chunks=parsed.chunks,
            title=parsed.title,
            size_bytes=parsed.size_bytes or 0,
        )
    if delivery.subject == subjects.CHUNKS_INDEXED:
        indexed = decode(ChunksIndexed, delivery.payload)
        return BatchIndexed(
            tenant=delivery.tenant,
            document_id=indexed.document_id,
            revision=indexed.revision,
            at=_now(),
            batch=indexed.batch,
            chunks=indexed.chunks,
        )
    return None


def _now() -> datetime:
    return datetime.now(UTC)
