"""The health of every part: each process is asked at once, and those that stay silent are named."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from contracts import subjects
from contracts.codec import DecodeError, decode, encode
from contracts.health import HealthReply, HealthRequest
from services.gateway.schemas import BrokerHealth, PlatformHealth, Replica, ServiceHealth
from shared.logs import get_logger
from shared.messaging.broker import DEFAULT_PENDING, PendingLimits, without_credentials
from shared.version import VERSION

log = get_logger(__name__)

EXPECTED_SERVICES: Final = ("gateway", "parser", "embedder", "retriever", "agent", "persistence")
# Replies that are on their way come within milliseconds of one another; a part that runs a slow check comes later.
QUIET_SECONDS: Final = 0.1
MAX_REPLICAS: Final = 1_000


class Components:
    """Asks all processes of the platform how they are."""

    def __init__(
        self,
        client: Client,
        own_report: Callable[[], Awaitable[HealthReply]],
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
        self._asking: asyncio.Task[list[HealthReply]] | None = None

    async def health(self) -> PlatformHealth:
        """Return the state of every part, within the timeout even when parts hang."""
        services = by_service(await self.replies())
        connected = self._client.is_connected
        version = self._client.connected_server_version
        server = f"{version.major}.{version.minor}.{version.patch}" if connected else None
        return PlatformHealth(
            status="ok" if connected and _all_well(services) else "degraded",
            version=VERSION,
            broker=BrokerHealth(url=self._broker_url, server=server, connected=connected),
            services=services,
        )

    async def replies(self) -> list[HealthReply]:
        """Return what every process says; callers at the same time share one question."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> list[HealthReply]:
        others, own = await asyncio.gather(self._scatter(), self._own_report())
        known = {reply.instance for reply in others if reply.service == own.service}
        return others if own.instance in known else [*others, own]

    async def _scatter(self) -> list[HealthReply]:
        if not self._client.is_connected:
            return []
        replies: asyncio.Queue[Msg] = asyncio.Queue(MAX_REPLICAS)

        async def receive(message: Msg) -> None:
            if not replies.full():
                replies.put_nowait(message)

        inbox = self._client.new_inbox()
        try:
            subscription = await self._pending.subscribe(self._client, inbox, receive)
            try:
                await self._client.publish(subjects.HEALTH, encode(HealthRequest()), reply=inbox)
                return [reply async for reply in _until_quiet(replies, self._timeout_seconds)]
            finally:
                await subscription.unsubscribe()
        except NatsError as error:
            log.warning("health_not_asked", error=type(error).__name__)
            return []


def by_service(replies: Iterable[HealthReply]) -> dict[str, ServiceHealth]:
    """Return the replicas of every service; an expected service that is silent has none."""
    found: defaultdict[str, list[Replica]] = defaultdict(list)
    for reply in sorted(replies, key=lambda reply: reply.instance):
        found[reply.service].append(Replica.model_validate(reply.model_dump(exclude={"service"})))
    names = [*EXPECTED_SERVICES, *sorted(found.keys() - set(EXPECTED_SERVICES))]
    return {
        name: ServiceHealth(
            replicas=(replicas := found.get(name, [])),
            ready=sum(replica.ready for replica in replicas),
            live=sum(replica.live for replica in replicas),
        )
        for name in names
    }


def _all_well(services: dict[str, ServiceHealth]) -> bool:
    return all(service.ready > 0 and service.live == len(service.replicas) for service in services.values())


async def _until_quiet(replies: asyncio.Queue[Msg], timeout_seconds: float) -> AsyncIterator[HealthReply]:
    """Yield replies until nothing more comes: soon once all expected services spoke, else when the time is up."""
    deadline = time.monotonic() + timeout_seconds
    missing = set(EXPECTED_SERVICES)
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
        missing.discard(reply.service)
        yield reply
