"""The health of every part: each process is asked at once, and those that stay silent are named."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from contracts import subjects
from contracts.codec import DecodeError, decode, encode
from contracts.health import HealthReply, HealthRequest
from services.gateway.health_schemas import BrokerHealth, PlatformHealth
from services.gateway.parts import (
    EXPECTED_PARTS,
    ConsumerSample,
    by_service,
    consumer_health,
    notices_of,
    parts_of,
    platform_parts,
    problems_of,
    ready_lanes,
    versions_of,
)
from shared.logs import get_logger
from shared.messaging.broker import DEFAULT_PENDING, PendingLimits, without_credentials
from shared.version import VERSION

log = get_logger(__name__)

# Replies that are on their way come within milliseconds of one another; a part that runs a slow check comes later.
QUIET_SECONDS: Final = 0.1
MAX_REPLICAS: Final = 1_000


# What a process may take to look at itself: its reply still has to come, within the time that replies are collected.
REPLY_SECONDS: Final = 0.2
# Whatever hangs: the answer stays well within the second that is promised.
WHOLE_SECONDS: Final = 0.85

OwnReport = Callable[[float], Awaitable[HealthReply]]
Samples = Callable[[], Mapping[str, ConsumerSample]]


@dataclass(frozen=True, slots=True)
class _Heard:
    """What came back: `by_broker` tells whether anything came by the broker."""

    replies: list[HealthReply]
    by_broker: bool


class Components:
    """Asks all processes of the platform how they are."""

    def __init__(
        self,
        client: Client,
        own_report: OwnReport,
        *,
        broker_url: str,
        timeout_seconds: float,
        pending: PendingLimits = DEFAULT_PENDING,
    ) -> None:
        self._pending = pending
        self._client = client
        self._own_report = own_report
        self._broker_url = without_credentials(broker_url)
        self._timeout_seconds = timeout_seconds
        self._check_seconds = max(timeout_seconds - REPLY_SECONDS, timeout_seconds / 2)
        self._asking: asyncio.Task[_Heard] | None = None
        self.samples: Samples = dict

    async def health(self) -> PlatformHealth:
        """Return the state of every part, within a second even when parts hang."""
        heard = await self._heard()
        services = by_service(heard.replies)
        broker = self._broker(answers=heard.by_broker)
        problems = problems_of(broker, services)
        return PlatformHealth(
            status="degraded" if problems else "ok",
            version=VERSION,
            problems=problems,
            notices=notices_of(services),
            broker=broker,
            parts=platform_parts(services),
            lanes=ready_lanes(services),
            consumers=consumer_health(services, self.samples()),
            versions=versions_of(services),
            services=services,
        )

    async def replies(self) -> list[HealthReply]:
        """Return what every process says; callers at the same time share one question."""
        return (await self._heard()).replies

    async def _heard(self) -> _Heard:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    def _broker(self, *, answers: bool) -> BrokerHealth:
        connected = self._client.is_connected
        version = self._client.connected_server_version
        server = f"{version.major}.{version.minor}.{version.patch}" if connected else None
        return BrokerHealth(url=self._broker_url, server=server, connected=connected, answers=answers)

    async def _ask(self) -> _Heard:
        others, own = await asyncio.gather(self._scatter(), self._own_report(self._check_seconds))
        known = {reply.instance for reply in others if reply.service == own.service}
        return _Heard(others if own.instance in known else [*others, own], by_broker=bool(others))

    async def _scatter(self) -> list[HealthReply]:
        heard: list[HealthReply] = []
        if not self._client.is_connected:
            return heard
        replies: asyncio.Queue[Msg] = asyncio.Queue(MAX_REPLICAS)

        async def receive(message: Msg) -> None:
            if not replies.full():
                replies.put_nowait(message)

        try:
            async with asyncio.timeout(WHOLE_SECONDS):
                await self._collect(replies, receive, heard)
        except (NatsError, TimeoutError) as error:
            log.warning("health_not_asked", error=type(error).__name__)
        return heard

    async def _collect(
        self, replies: "asyncio.Queue[Msg]", receive: Callable[[Msg], Awaitable[None]], heard: list[HealthReply]
    ) -> None:
        inbox = self._client.new_inbox()
        subscription = await self._pending.subscribe(self._client, inbox, receive)
        try:
            request = HealthRequest(check_seconds=self._check_seconds)
            await self._client.publish(subjects.HEALTH, encode(request), reply=inbox)
            async for reply in _until_quiet(replies, self._timeout_seconds):
                heard.append(reply)
        finally:
            await subscription.unsubscribe()


async def _until_quiet(replies: asyncio.Queue[Msg], timeout_seconds: float) -> AsyncIterator[HealthReply]:
    """Yield replies until nothing more comes: soon once all expected parts spoke, else when the time is up."""
    deadline = time.monotonic() + timeout_seconds
    missing = set(EXPECTED_PARTS)
    while (remaining := deadline - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(min(remaining, QUIET_SECONDS) if not missing else remaining):
                message = await replies.get()
        except TimeoutError:
            return
        try:
            reply = decode(HealthReply, message.data)
        except DecodeError as error:
            log.warning("health_reply_not_readable", reason=error)
            continue
        missing -= parts_of(reply)
        yield reply
