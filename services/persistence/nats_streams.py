"""Messages where they lie: fetched from their stream by number, buried, removed."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError, ObjectDeletedError, ObjectNotFoundError
from nats.js.object_store import ObjectStore

from contracts.topology import STREAMS, Consumer, Retention, Stream
from shared.errors import Unavailable
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.delivery import Delivery
from shared.messaging.policy import Reason
from shared.messaging.publishing import Publisher

_STREAMS = {stream.name: stream for stream in STREAMS}


class NatsStreams:
    """Every call raises Unavailable when the broker does not answer."""

    def __init__(self, client: Client, publisher: Publisher, uploads: Callable[[], Awaitable[ObjectStore]]) -> None:
        self._client = client
        self._jetstream = client.jetstream()
        self._publisher = publisher
        self._uploads = uploads

    async def message(self, consumer: Consumer, sequence: int, deliveries: int) -> Delivery | None:
        """Return a message as its consumer was given it, None when it is no longer in its stream."""
        try:
            with _answering():
                found = await self._jetstream.get_msg(consumer.stream, sequence, direct=True)
        except NotFoundError:
            return None
        return Delivery(
            subject=found.subject or "",
            headers=found.headers or {},
            stream=consumer.stream,
            consumer=consumer.name,
            sequence=sequence,
            deliveries=deliveries,
            published_at=found.time.timestamp() if found.time else 0.0,
            payload=found.data or b"",
        )

    async def bury(self, delivery: Delivery, reason: Reason) -> None:
        """Make a message a dead letter of its consumer."""
        with _answering():
            uploads = await self._uploads()
            letters = DeadLetters(self._publisher, uploads, max_payload_bytes=self._client.max_payload)
            await letters.bury(delivery, reason)

    async def remove(self, consumer: Consumer, sequence: int) -> None:
        """Take a message that its consumer gave up out of a stream that would keep it for ever.

        Unavailable while another consumer of the stream is still to work on it.
        """
        stream = _STREAMS[consumer.stream]
        if stream.retention is Retention.LIMITS:
            return
        try:
            with _answering():
                await self._wait_for_others(stream, consumer, sequence)
                await self._jetstream.delete_msg(stream.name, sequence)
        except NotFoundError:
            return

    async def stored(self, name: str) -> bytes:
        """Return a payload from the object store, nothing when it is no longer there."""
        try:
            with _answering():
                found = await (await self._uploads()).get(name)
        except (ObjectNotFoundError, ObjectDeletedError):
            return b""
        return found.data or b""

    async def _wait_for_others(self, stream: Stream, consumer: Consumer, sequence: int) -> None:
        for other in stream.consumers:
            info = await self._jetstream.consumer_info(stream.name, other.name)
            done = info.ack_floor.stream_seq if info.ack_floor else 0
            if other.name != consumer.name and done < sequence:
                raise Unavailable(f"{other.name} has not finished with message {sequence} of {stream.name}")


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (NotFoundError, ObjectNotFoundError, ObjectDeletedError):
        raise
    except (NatsError, TimeoutError) as error:
        raise Unavailable(f"the broker does not answer: {type(error).__name__}") from error
