"""Messages to a stream in one go: written one behind the other, and their acknowledgements awaited together."""

import asyncio
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import Header, PubAck, StatusCode
from nats.js.errors import APIError, NoStreamResponseError

from shared.messaging.broker import PendingLimits

# Acknowledgements that are dropped would be waited for in vain; each belongs to a message that somebody holds anyway.
_PENDING = PendingLimits(messages=65_536)
Answer = PubAck | NatsError


class Acknowledgements:
    """Publishes over one connection; one subscription takes the answers to everything."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox: str | None = None
        self._opening = asyncio.Lock()
        self._names = itertools.count()
        self._flights: dict[str, _Flight] = {}

    async def publish(
        self, subject: str, messages: Sequence[tuple[bytes, Mapping[str, str]]], timeout_seconds: float
    ) -> list[Answer]:
        """Return what became of each message (payload and headers), in their order.

        An error stands where the broker refused, and where it did not answer in time.
        """
        inbox = self._inbox or await self._open()
        name, flight = str(next(self._names)), _Flight(len(messages))
        self._flights[name] = flight
        try:
            for place, (payload, headers) in enumerate(messages):
                reply = f"{inbox}.{name}.{place}"
                try:
                    await self._client.publish(subject, payload, reply=reply, headers=dict(headers))
                except NatsError as error:
                    flight.take(place, error)
            # Only around the waiting: the client's own writing swallows a cancellation.
            await flight.landed(timeout_seconds)
        finally:
            del self._flights[name]
        return [answer or NatsTimeout() for answer in flight.answers]

    async def _open(self) -> str:
        async with self._opening:
            if self._inbox is None:
                inbox = self._client.new_inbox()
                await _PENDING.subscribe(self._client, f"{inbox}.*.*", self._take)
                self._inbox = inbox
        return self._inbox

    async def _take(self, message: Msg) -> None:
        _, name, place = message.subject.rsplit(".", 2)
        # Without one its sender has given up, and tried again under another name.
        if (flight := self._flights.get(name)) is not None:
            flight.take(int(place), _answer(message))


class _Flight:
    """What was sent together and is not all answered yet."""

    def __init__(self, messages: int) -> None:
        self.answers: list[Answer | None] = [None] * messages
        self._missing = messages
        self._landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, place: int, answer: Answer) -> None:
        if self.answers[place] is None:
            self.answers[place] = answer
            self._missing -= 1
            if not self._missing and not self._landed.done():
                self._landed.set_result(None)

    async def landed(self, timeout_seconds: float) -> None:
        """Return once everything is answered, or the time is up."""
        if self._missing:
            await asyncio.wait({self._landed}, timeout=timeout_seconds)


def _answer(message: Msg) -> Answer:
    if message.headers and message.headers.get(Header.STATUS) == StatusCode.SERVICE_UNAVAILABLE:
        return NoStreamResponseError()
    reply: dict[str, Any] = json.loads(message.data)
    if error := reply.get("error"):
        return APIError(error.get("code"), error.get("description"), error.get("err_code"))
    return PubAck(stream=reply["stream"], seq=reply["seq"], duplicate=reply.get("duplicate"))
