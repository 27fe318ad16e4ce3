"""The end of the INGEST stream: what was accepted and is perhaps not recorded yet."""

from collections.abc import AsyncIterator
from typing import Final

from nats.aio.client import Client
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from contracts import subjects
from contracts.topology import INTAKE
from services.persistence.nats_streams import answering
from services.persistence.revision_guard import Numbering
from shared.errors import Overloaded

MAX_READ_MESSAGES: Final = 500
# Intake waits for this answer; one that a dying server took along is asked for again.
NUMBERING_SECONDS: Final = 2.0


class NatsIngest:
    """Every call raises Unavailable when the broker does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._jetstream = client.jetstream()
        self._soon = client.jetstream(timeout=NUMBERING_SECONDS)

    def connection(self) -> int:
        """Return a number that changes with every new connection to the broker."""
        return self._client.stats["reconnects"]

    async def numbering(self) -> Numbering | None:
        """Return where the sequence began and its last one, None while there is no stream."""
        try:
            with answering():
                info = await self._soon.stream_info(INTAKE.stream)
        except NotFoundError:
            return None
        return Numbering(first=info.config.first_seq or 1, last=info.state.last_seq)

    async def recorded(self) -> int:
        """Return the sequence up to which intake is through with every message."""
        with answering():
            info = await self._jetstream.consumer_info(INTAKE.stream, INTAKE.name)
        return (info.ack_floor.stream_seq if info.ack_floor else 0) or 0

    async def last(self) -> int:
        """Return the sequence of the last message that was ever accepted."""
        with answering():
            return (await self._jetstream.stream_info(INTAKE.stream)).state.last_seq

    async def messages(self, tenant: str, after: int, until: int) -> AsyncIterator[RawStreamMsg]:
        """Yield the messages of a tenant in (after, until] that are still there; Overloaded when they are too many."""
        sequence = after + 1
        for _ in range(MAX_READ_MESSAGES):
            found = await self._next(tenant, sequence)
            if found is None or found.seq is None or found.seq > until:
                return
            yield found
            sequence = found.seq + 1
        raise Overloaded("too many documents wait to be recorded; try again when fewer come in")

    async def _next(self, tenant: str, sequence: int) -> RawStreamMsg | None:
        try:
            with answering():
                # Not a direct get: a replica that lags behind would not know of the latest.
                return await self._jetstream.get_msg(
                    INTAKE.stream, seq=sequence, subject=subjects.ingest(tenant), next=True
                )
        except NotFoundError:
            return None
