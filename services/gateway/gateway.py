"""What the routes work with, built once the broker is connected."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends
from starlette.requests import Request

from contracts.retrieval import REINDEX_STEP_SECONDS
from contracts.topology import TURNS
from services.gateway.answer_streams import AnswerStreams
from services.gateway.answers import Questions
from services.gateway.caller_seats import CallerSeats
from services.gateway.components import Components
from services.gateway.dead_letters import DeadLetterDesk
from services.gateway.deletion import Deletion
from services.gateway.idempotency import SeenKeys
from services.gateway.ingestion import Ingestion
from services.gateway.key_desk import KeyDesk
from services.gateway.mcp.endpoint import McpEndpoint
from services.gateway.metrics import BacklogGauges, StreamMetrics
from services.gateway.nats_answers import StoredAnswers
from services.gateway.nats_asked import LatelyAsked
from services.gateway.nats_intake import Intake
from services.gateway.nats_notices import DocumentNotices
from services.gateway.nats_uploads import Uploads
from services.gateway.openai_wire.embeddings import Embeddings
from services.gateway.pipeline import Pipeline
from services.gateway.progress import DocumentProgress
from services.gateway.quota_desk import QuotaDesk
from services.gateway.reads import Reads
from services.gateway.recent import RecentWrites
from services.gateway.seats import Seats
from services.gateway.settings import GatewaySettings
from services.gateway.talk import Talk
from services.gateway.traces import Traces
from shared.errors import Unavailable
from shared.messaging.broker import PendingLimits
from shared.messaging.dead_letters import HEADER_RESERVE_BYTES
from shared.messaging.requests import Requester
from shared.messaging.usage import UsageReader
from shared.service import Service

START_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """The use cases of the gateway."""

    settings: GatewaySettings
    requester: Requester
    patient_requester: Requester
    reads: Reads
    ingestion: Ingestion
    quota_desk: QuotaDesk
    deletion: Deletion
    dead_letters: DeadLetterDesk
    traces: Traces
    keys: KeyDesk
    notices: DocumentNotices
    progress: DocumentProgress
    questions: Questions
    embeddings: Embeddings
    answer_streams: AnswerStreams
    talk: Talk
    components: Components
    pipeline: Pipeline
    mcp: McpEndpoint
    waiting_seats: Seats
    max_payload_bytes: int


def build_gateway(service: Service, settings: GatewaySettings) -> Gateway:
    """Build every use case on a connected service."""
    client, publisher, requester = service.client, service.publisher, service.requester
    recent = RecentWrites(keep_seconds=settings.gateway_recent_seconds, max_entries=settings.gateway_max_recent)
    reads = Reads(requester, recent, settle_seconds=settings.gateway_settle_seconds)
    uploads = Uploads(service.uploads, timeout_seconds=settings.gateway_object_seconds)
    intake = Intake(client, settle_seconds=settings.gateway_settle_seconds)
    turns = Intake(client, settle_seconds=settings.gateway_settle_seconds, consumer=TURNS, what="conversations")
    seen = SeenKeys(requester, settle_seconds=settings.gateway_settle_seconds)
    usage = UsageReader(client, requester, timeout_seconds=settings.quota_settle_seconds)
    quota_desk = QuotaDesk(usage, requester, settings, service.telemetry.meter)
    pending = PendingLimits.of(settings)
    notices = DocumentNotices(client, pending)
    meter = service.telemetry.meter
    open_streams = StreamMetrics(meter)
    seats = CallerSeats(
        settings.gateway_max_waiting,
        "too many callers wait at the same time",
        per_caller=settings.gateway_max_waiting_per_caller,
    )
    answer_streams = AnswerStreams(
        StoredAnswers(client, pending),
        seats,
        timeout_seconds=settings.gateway_query_timeout_seconds,
        heartbeat_seconds=settings.gateway_heartbeat_seconds,
        listening_seconds=settings.gateway_listening_seconds,
        recheck_seconds=settings.gateway_recheck_seconds,
        counted=open_streams.of("answer"),
    )
    components = Components(
        client,
        service.health.report,
        broker_url=settings.nats_url,
        timeout_seconds=settings.gateway_scatter_seconds,
        pending=pending,
    )
    gauges = BacklogGauges(meter, sample_seconds=settings.gateway_sample_seconds)
    pipeline = Pipeline(client, components, gauges, sample_seconds=settings.gateway_sample_seconds)
    components.samples = pipeline.latest
    patient = Requester(client, service.telemetry.tracer, timeout_seconds=REINDEX_STEP_SECONDS)
    return Gateway(
        settings=settings,
        requester=requester,
        patient_requester=patient,
        reads=reads,
        ingestion=Ingestion(
            publisher, uploads, seen, recent, quota_desk, concurrency=settings.gateway_publish_concurrency
        ),
        quota_desk=quota_desk,
        deletion=Deletion(publisher, requester, reads, recent, intake),
        dead_letters=DeadLetterDesk(requester, patient, recent),
        traces=Traces(requester),
        keys=KeyDesk(requester, pepper=settings.key_pepper, operator_tenant=settings.operator_tenant),
        notices=notices,
        progress=DocumentProgress(
            notices,
            seats,
            heartbeat_seconds=settings.gateway_heartbeat_seconds,
            max_stream_seconds=settings.gateway_max_stream_seconds,
            counted=open_streams.of("document"),
        ),
        questions=Questions(
            client,
            publisher,
            seats,
            answer_streams,
            timeout_seconds=settings.gateway_query_timeout_seconds,
            recheck_seconds=settings.gateway_recheck_seconds,
            pending=pending,
        ),
        answer_streams=answer_streams,
        embeddings=Embeddings(
            requester.ask,
            seats,
            slice_texts=settings.gateway_embedding_slice_texts,
            slices=settings.gateway_embedding_slices,
            timeout_seconds=settings.gateway_query_timeout_seconds,
        ),
        talk=Talk(requester, publisher, LatelyAsked(client), turns),
        components=components,
        pipeline=pipeline,
        mcp=McpEndpoint(
            service.telemetry.tracer,
            hosts=settings.mcp_hosts,
            max_body_bytes=settings.gateway_mcp_max_body_bytes,
        ),
        waiting_seats=seats,
        max_payload_bytes=client.max_payload - HEADER_RESERVE_BYTES,
    )


async def _gateway(request: Request) -> Gateway:
    gateway: Gateway | None = getattr(request.app.state, "gateway", None)
    if gateway is None:
        raise Unavailable("the gateway is starting; /ready says what it waits for", retry_after_seconds=START_SECONDS)
    return gateway


GatewayOf = Annotated[Gateway, Depends(_gateway)]
