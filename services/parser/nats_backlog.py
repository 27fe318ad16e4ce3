"""The stream of documents and the queue of chunks, seen from outside the durable consumers."""

import asyncio
import time
from collections.abc import Mapping

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from contracts import subjects, topology
from contracts.codec import DecodeError, decode
from contracts.facts import DocumentParsed
from services.parser.early_work import EarlyWork
from services.parser.fair_lane import Position, WaitingMessage
from services.parser.queue_room import QueueRoom, QueueState
from shared.errors import Unavailable
from shared.logs import get_logger

log = get_logger(__name__)
_TIMEOUT_SECONDS = 5.0
# What the broker adds when it reads a message out of the stream.
_READING_HEADERS = frozenset({"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending"})


class NatsBacklog:
    """What waits behind the durable `parser`; read without taking anything away."""

    def __init__(self, client: Client) -> None:
        self._jetstream = client.jetstream(timeout=_TIMEOUT_SECONDS)

    async def position(self) -> Position:
        """Return where the durable is; Unavailable when the broker does not say."""
        try:
            info = await self._jetstream.consumer_info(topology.PARSER.stream, topology.PARSER.name)
        except (NatsError, TimeoutError) as error:
            raise _unread(error) from error
        delivered = info.delivered.stream_seq if info.delivered else 0
        settled = info.ack_floor.stream_seq if info.ack_floor else 0
        return Position(delivered=delivered or 0, settled=settled or 0, waiting=info.num_pending or 0)

    async def tenants(self) -> Mapping[str, int]:
        """Return how many messages each tenant has in the stream; Unavailable when the broker does not say."""
        try:
            info = await self._jetstream.stream_info(topology.PARSER.stream, subjects_filter=subjects.INGEST_ALL)
        except (NatsError, TimeoutError) as error:
            raise _unread(error) from error
        found: dict[str, int] = {}
        for subject, messages in (info.state.subjects or {}).items():
            try:
                found[subjects.tenant_of(subject)] = messages
            except ValueError:
                continue  # The durable buries it.
        return found

    async def next_of(self, tenant: str, after: int) -> WaitingMessage | None:
        """Return a tenant's first message after a sequence; Unavailable when the broker does not say."""
        subject = subjects.ingest(tenant)
        try:
            message = await self._jetstream.get_msg(
                topology.PARSER.stream, seq=after + 1, subject=subject, next=True, direct=True
            )
        except NotFoundError:
            return None
        except (NatsError, TimeoutError) as error:
            raise _unread(error) from error
        headers = {name: value for name, value in (message.headers or {}).items() if name not in _READING_HEADERS}
        return WaitingMessage(
            tenant=tenant,
            subject=subject,
            sequence=message.seq or 0,
            headers=headers,
            payload=message.data or b"",
            published_at=message.time.timestamp() if message.time else time.time(),
        )


class NatsChunkQueue:
    """Tells how much room the queue of chunks has."""

    def __init__(self, client: Client, room: QueueRoom) -> None:
        self._jetstream = client.jetstream(timeout=_TIMEOUT_SECONDS)
        self._room = room

    async def left(self) -> float:
        """Return how many bytes may be added; when the broker does not say, as many as always may."""
        try:
            info = await self._jetstream.stream_info(topology.EMBEDDER.stream)
        except (NatsError, TimeoutError) as error:
            # Publishing meets the same broker and has the better answer: it knows whether the message was stored.
            log.warning("chunk_queue_unknown", error=type(error).__name__)
            return self._room.target_bytes
        state = info.state
        return self._room.left(
            QueueState(state.messages, state.bytes, state.last_seq, asyncio.get_running_loop().time())
        )


async def hear_of_parsed(client: Client, early: EarlyWork) -> None:
    """Listen to what other replicas say they parsed; what is missed is parsed again, which changes nothing."""

    async def heard(message: Msg) -> None:
        try:
            early.heard(decode(DocumentParsed, message.data).revision)
        except DecodeError as error:
            log.warning("parsed_fact_unread", reason=str(error))

    await client.subscribe(subjects.DOCUMENT_PARSED, cb=heard)


def _unread(error: Exception) -> Unavailable:
    return Unavailable(f"the broker does not tell what waits: {type(error).__name__}")
