"""The queue of chunks and what is said of parsed documents, seen on the broker."""

import asyncio

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from contracts import subjects, topology
from contracts.codec import DecodeError, decode
from contracts.facts import DocumentParsed
from services.parser.queue_room import QueueRoom, QueueState
from shared.logs import get_logger
from shared.messaging.early_work import EarlyWork

log = get_logger(__name__)
_TIMEOUT_SECONDS = 5.0


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
            log.warning("parsed_fact_unread", reason=error)

    await client.subscribe(subjects.DOCUMENT_PARSED, cb=heard)
