"""What the parser consumes."""

from functools import partial

from opentelemetry.trace import Tracer

from contracts import topology
from contracts.codec import decode
from contracts.documents import IngestMessage
from services.parser.nats_fetched import object_of
from services.parser.parsing import DocumentParser
from services.parser.payloads import Payloads
from shared.logs import bind_document
from shared.messaging.delivery import Delivery
from shared.messaging.early_work import EarlyWork
from shared.messaging.fair_lane import WaitingMessage
from shared.messaging.spans import process_span
from shared.metrics import FairnessMetrics


class ParserHandlers:
    """Turns each ingestion message into batches of chunks; a delete is persistence's business alone."""

    def __init__(
        self, parser: DocumentParser, payloads: Payloads, early: EarlyWork, tracer: Tracer, metrics: FairnessMetrics
    ) -> None:
        self._parser, self._payloads, self._early = parser, payloads, early
        self._tracer, self._metrics = tracer, metrics

    async def on_ingest(self, message: IngestMessage, delivery: Delivery) -> None:
        """Parse one revision of a document, unless that was done early; Rejected carries what people will read."""
        if message.op != "upsert":
            return
        with self._early.serving(delivery.tenant, delivery.sequence):
            if await self._early.was_done(delivery.sequence):
                self._metrics.early.add(1, {"outcome": "known"})
            else:
                await self._parser.parse(message, delivery)
        kept = object_of(delivery.sequence) if message.is_fetched else message.object
        if kept is not None:
            # After the acknowledgement: a redelivery before it still needs the payload.
            delivery.after_ack.append(partial(self._payloads.remove, kept))

    async def on_early(self, waiting: WaitingMessage) -> None:
        """Parse a message that the durable has yet to give out; its payload stays for that."""
        delivery = waiting.as_delivery(topology.PARSER)
        with process_span(self._tracer, delivery):
            message = decode(IngestMessage, waiting.payload)
            bind_document(message)
            if message.op == "upsert":
                await self._parser.parse(message, delivery)
