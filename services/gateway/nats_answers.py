"""The events of answers as the broker has them: stored, live, and who listens."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from contracts import subjects
from contracts.codec import encode
from contracts.queries import StillListening
from services.gateway.answer_feed import StoredEvent
from shared.errors import Unavailable
from shared.messaging.broker import DEFAULT_PENDING, PendingLimits
from shared.messaging.stored import next_message

ANSWERS: Final = "ANSWERS"

Offer = Callable[[int, StoredEvent], None]


class StoredAnswers:
    """Reads what ANSWERS holds; raises Unavailable when the broker does not answer."""

    def __init__(self, client: Client, pending: PendingLimits = DEFAULT_PENDING) -> None:
        self._client = client
        self._jetstream = client.jetstream()
        self._pending = pending

    async def next(self, query_id: str, position: int) -> StoredEvent | None:
        """Return the first event behind a position, None when there is none."""
        found = await self._next_message(query_id, position)
        return _event(found) if found is not None else None

    async def first(self, query_id: str) -> tuple[StoredEvent, Mapping[str, str]] | None:
        """Return the first event that is still there, with its headers."""
        found = await self._next_message(query_id, 0)
        return (_event(found), found.headers or {}) if found is not None else None

    async def last(self, query_id: str) -> StoredEvent | None:
        """Return the last event."""
        try:
            return _event(await self._jetstream.get_msg(ANSWERS, subject=subjects.answers(query_id), direct=True))
        except NotFoundError:
            return None
        except (NatsError, TimeoutError) as error:
            raise _away(error) from error

    @asynccontextmanager
    async def live(self, query_id: str, offer: Offer) -> AsyncIterator[None]:
        """Offer each event that is stored while the block runs, with the position of the one before it."""

        async def take(message: Msg) -> None:
            headers = message.headers or {}
            position, behind = (
                int(headers[name]) for name in (subjects.HEADER_STORED_SEQUENCE, subjects.HEADER_STORED_BEHIND)
            )
            offer(behind, StoredEvent(position, message.data))

        try:
            subscription = await self._pending.subscribe(self._client, subjects.told(query_id), take)
        except NatsError as error:
            raise _away(error) from error
        try:
            yield
        finally:
            with suppress(NatsError):
                await subscription.unsubscribe()

    async def say_listening(self, query_id: str) -> None:
        """Tell whoever works on the answer that somebody reads it; a broker that is away is not told."""
        with suppress(NatsError):
            await self._client.publish(subjects.listening(query_id), encode(StillListening(query_id=query_id)))

    async def _next_message(self, query_id: str, position: int) -> RawStreamMsg | None:
        try:
            return await next_message(self._jetstream, ANSWERS, subjects.answers(query_id), after=position)
        except (NatsError, TimeoutError) as error:
            raise _away(error) from error


def _event(message: RawStreamMsg) -> StoredEvent:
    return StoredEvent(message.seq or 0, message.data or b"")


def _away(error: Exception) -> Unavailable:
    return Unavailable(f"the broker does not answer: {type(error).__name__}")
