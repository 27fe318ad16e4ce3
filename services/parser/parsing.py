"""One document from its message to the queue of chunks."""

import asyncio

from contracts import subjects
from contracts.chunks import ChunksReady, ChunkText, chunk_id
from contracts.codec import encode
from contracts.documents import IngestMessage
from contracts.facts import DocumentParsed
from services.parser.admission import Admission
from services.parser.document import Chunk
from services.parser.errors import ExtractionError, SandboxUnavailable
from services.parser.jobs import ChunkBatch, ExtractionJob, JobLimits
from services.parser.nats_fetched import object_of
from services.parser.payloads import ObjectMissing, Payload, Payloads
from services.parser.recorded import Recorded
from services.parser.sandbox import Sandbox
from services.parser.turns import Turns
from shared.errors import NotYet, Overloaded, Rejected, Unavailable
from shared.logs import get_logger
from shared.messaging.delivery import Delivery
from shared.messaging.publishing import Published, Publisher, message_id
from shared.quotas import Place, QuotaExceeded

log = get_logger(__name__)

QUEUE_FULL_PAUSE_SECONDS = 0.5
# So often an object is looked for before its document is given up, and so long apart.
OBJECT_TRIES = 3
OBJECT_RETRY_SECONDS = 1.0


class DocumentParser:
    """Fetches a document, has it read, and publishes its batches in turn; a repeat gives the same messages and ids."""

    def __init__(
        self,
        sandbox: Sandbox,
        payloads: Payloads,
        recorded: Recorded,
        publisher: Publisher,
        turns: Turns,
        admission: Admission,
        limits: JobLimits,
        *,
        backpressure_seconds: float,
    ) -> None:
        self._sandbox = sandbox
        self._payloads = payloads
        self._recorded = recorded
        self._publisher = publisher
        self._turns = turns
        self._admission = admission
        self._limits = limits
        self._backpressure_seconds = backpressure_seconds

    async def parse(self, message: IngestMessage, delivery: Delivery) -> None:
        """Parse one revision of a document; Rejected carries the code that people will read."""
        try:
            payload = await self._payloads.fetch(message, delivery.sequence)
        except ObjectMissing:
            await self._require_parsed(message, delivery)
            return
        try:
            with await self._admission.take(message, len(payload.content), delivery) as room:
                parsed = await self._parse(message, payload, delivery)
                room.added(message.derived_id(), Place(delivery.sequence, parsed.sequence))
        except ExtractionError as error:
            await self._forget(message, delivery)
            raise Rejected(error.message, code=error.code, field="content") from None
        except QuotaExceeded:
            await self._forget(message, delivery)
            raise
        except SandboxUnavailable as error:
            raise Unavailable(str(error)) from None

    async def _forget(self, message: IngestMessage, delivery: Delivery) -> None:
        """Remove what was fetched for a revision that ends here; an upload stays for a replay."""
        if message.is_fetched:
            await self._payloads.remove(object_of(delivery.sequence))

    async def _require_parsed(self, message: IngestMessage, delivery: Delivery) -> None:
        """Return when an earlier delivery parsed the revision, after which its payload is removed; raise otherwise.

        A process that was stopped for long, or a broker that forgot an acknowledgement as it was killed, has a message
        delivered again that is done. What was said of it may still be on its way to persistence.
        """
        if await self._recorded.is_parsed(delivery.tenant, message.derived_id(), delivery.sequence):
            log.info("parsed_before", document_id=message.derived_id(), revision=delivery.sequence)
            return
        missing = f"object {message.object!r} is not in the store"
        if delivery.deliveries < OBJECT_TRIES:
            raise NotYet(missing, code=ObjectMissing.code, retry_after_seconds=OBJECT_RETRY_SECONDS)
        raise ObjectMissing(missing, field="object")

    async def _parse(self, message: IngestMessage, payload: Payload, delivery: Delivery) -> Published:
        job = ExtractionJob(
            content=payload.content,
            media_type=payload.media_type,
            filename=message.filename or payload.filename,
            title=message.title,
            limits=self._limits,
        )
        batches = 0
        async with self._sandbox.extract(job) as extraction:
            async for batch in extraction:
                await self._publish(_ready(message, delivery, extraction.title, batches, batch), delivery)
                batches += 1
            outcome = extraction.outcome
        return await self._publisher.publish_fact(
            DocumentParsed(
                tenant=delivery.tenant,
                document_id=message.derived_id(),
                revision=delivery.sequence,
                batches=batches,
                chunks=outcome.chunks,
                characters=outcome.characters,
                media_type=outcome.media_type,
                title=message.title or outcome.title,
                size_bytes=len(payload.content),
            ),
            headers=delivery.forwarded_headers,
        )

    async def _publish(self, ready: ChunksReady, delivery: Delivery) -> None:
        """Wait for the tenant's turn; at a full stream rather wait than parse again, but not without end."""
        await self._turns.take(ready.tenant, len(encode(ready)))
        until = asyncio.get_running_loop().time() + self._backpressure_seconds
        while True:
            try:
                await self._publisher.publish(
                    subjects.CHUNKS_READY,
                    ready,
                    tenant=ready.tenant,
                    message_id=message_id(ready.document_id, ready.revision, "chunks", ready.batch),
                    headers=delivery.forwarded_headers,
                )
                return
            except Overloaded:
                if asyncio.get_running_loop().time() >= until:
                    raise
            await asyncio.sleep(QUEUE_FULL_PAUSE_SECONDS)


def _ready(
    message: IngestMessage, delivery: Delivery, title: str | None, number: int, batch: ChunkBatch
) -> ChunksReady:
    tenant, document_id, revision = delivery.tenant, message.derived_id(), delivery.sequence
    return ChunksReady(
        tenant=tenant,
        document_id=document_id,
        revision=revision,
        collection=message.collection,
        title=message.title or title,
        uri=message.uri,
        metadata=message.metadata,
        batch=number,
        chunks=[_text(chunk, chunk_id(tenant, document_id, revision, chunk.ordinal)) for chunk in batch.chunks],
    )


def _text(chunk: Chunk, identity: str) -> ChunkText:
    return ChunkText(
        ordinal=chunk.ordinal,
        chunk_id=identity,
        text=chunk.text,
        prefix=chunk.prefix,
        page=chunk.page,
        heading_path=chunk.heading_path,
        char_start=chunk.char_start,
        char_end=chunk.char_end,
    )
