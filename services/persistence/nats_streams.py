"""Messages and payloads where they lie: fetched from their stream by number, buried, removed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError, ObjectDeletedError, ObjectNotFoundError, ServerError
from nats.js.object_store import ObjectStore

from contracts.topology import DEAD_LETTERS, STREAMS, Consumer, Retention, Stream
from services.persistence.dead_letter import DeadLetter
from shared.errors import Unavailable
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.delivery import Delivery
from shared.messaging.policy import Reason
from shared.messaging.publishing import Publisher

OBJECT_SECONDS = 10.0
# What a direct get puts beside the headers of the message itself.
_ADDED_BY_READING = frozenset({"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"})
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
            with answering():
                found = await self._jetstream.get_msg(consumer.stream, sequence, direct=True)
        except NotFoundError:
            return None
        return Delivery(
            subject=found.subject or "",
            headers={name: value for name, value in (found.headers or {}).items() if name not in _ADDED_BY_READING},
            stream=consumer.stream,
            consumer=consumer.name,
            sequence=sequence,
            deliveries=deliveries,
            published_at=found.time.timestamp() if found.time else 0.0,
            payload=found.data or b"",
        )

    async def bury(self, delivery: Delivery, reason: Reason) -> None:
        """Make a message a dead letter of its consumer."""
        with answering():
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
            with answering():
                await self._wait_for_others(stream, consumer, sequence)
                await self._delete(stream.name, sequence)
        except NotFoundError:
            return

    async def payload_of(self, letter: DeadLetter) -> bytes | None:
        """Return the payload of a letter's message, None when it lay in the object store and is no longer there."""
        if letter.object_name is None:
            return letter.payload
        try:
            with answering():
                # A store that lost some of an object's pieces would otherwise be waited for without end.
                async with asyncio.timeout(OBJECT_SECONDS):
                    found = await (await self._uploads()).get(letter.object_name)
        except (ObjectNotFoundError, ObjectDeletedError):
            return None
        return found.data or b""

    async def holds(self, name: str) -> bool:
        """Tell whether the object store has a payload."""
        try:
            with answering():
                await (await self._uploads()).get_info(name)
        except (ObjectNotFoundError, ObjectDeletedError):
            return False
        return True

    async def discard(self, name: str) -> None:
        """Remove a payload from the object store; one that is gone already is fine."""
        try:
            with answering():
                await (await self._uploads()).delete(name)
        except NotFoundError:
            return

    async def forget(self, sequence: int) -> None:
        """Remove a letter from the DEAD stream; one that is gone already is fine."""
        try:
            with answering():
                await self._delete(DEAD_LETTERS.stream, sequence)
        except NotFoundError:
            return

    async def first_letter(self) -> int:
        """Return the number below which the DEAD stream holds nothing any more."""
        with answering():
            return (await self._jetstream.stream_info(DEAD_LETTERS.stream)).state.first_seq

    async def _delete(self, stream: str, sequence: int) -> None:
        """Delete a message; NotFoundError when it is gone already."""
        try:
            await self._jetstream.delete_msg(stream, sequence)
        except ServerError:
            # The broker's only word for all that can go wrong; a read tells whether there is anything left to delete.
            await self._jetstream.get_msg(stream, sequence)
            raise

    async def _wait_for_others(self, stream: Stream, consumer: Consumer, sequence: int) -> None:
        for other in stream.consumers:
            info = await self._jetstream.consumer_info(stream.name, other.name)
            done = info.ack_floor.stream_seq if info.ack_floor else 0
            if other.name != consumer.name and done < sequence:
                raise Unavailable(f"{other.name} has not finished with message {sequence} of {stream.name}")


@contextmanager
def answering() -> Iterator[None]:
    try:
        yield
    except (NotFoundError, ObjectNotFoundError, ObjectDeletedError):
        raise
    except (NatsError, TimeoutError) as error:
        raise Unavailable(f"the broker does not answer: {type(error).__name__}") from error
