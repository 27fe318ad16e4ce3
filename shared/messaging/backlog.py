"""What waits in a stream behind a durable consumer, read without taking anything away."""

import time
from collections.abc import Mapping

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from contracts import subjects
from contracts.topology import Consumer
from shared.errors import Unavailable
from shared.messaging.fair_lane import Position, WaitingMessage

_TIMEOUT_SECONDS = 5.0
# What the broker adds when it reads a message out of the stream.
_READING_HEADERS = frozenset({"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending"})


class NatsBacklog:
    """What waits behind one of the durables of INGEST, by tenant."""

    def __init__(self, client: Client, consumer: Consumer) -> None:
        self._jetstream = client.jetstream(timeout=_TIMEOUT_SECONDS)
        self._stream, self._durable = consumer.stream, consumer.name

    async def position(self) -> Position:
        """Return where the durable is; Unavailable when the broker does not say."""
        try:
            info = await self._jetstream.consumer_info(self._stream, self._durable)
        except (NatsError, TimeoutError) as error:
            raise _unread(error) from error
        delivered = info.delivered.stream_seq if info.delivered else 0
        settled = info.ack_floor.stream_seq if info.ack_floor else 0
        return Position(delivered=delivered or 0, settled=settled or 0, waiting=info.num_pending or 0)

    async def tenants(self) -> Mapping[str, int]:
        """Return how many messages each tenant has in the stream; Unavailable when the broker does not say."""
        try:
            info = await self._jetstream.stream_info(self._stream, subjects_filter=subjects.INGEST_ALL)
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
                self._stream, seq=after + 1, subject=subject, next=True, direct=True
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


def _unread(error: Exception) -> Unavailable:
    return Unavailable(f"the broker does not tell what waits: {type(error).__name__}")
