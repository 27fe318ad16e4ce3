"""One way to connect to the broker, with the options that keep a process alive through the broker's absence."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from faststream.middlewares import AckPolicy
from faststream.nats import NatsBroker, NatsPublishCommand
from faststream.types import BrokerMiddleware
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from shared.errors import Unavailable
from shared.logs import get_logger
from shared.messaging.broker_login import TLS_SCHEME, inbox_prefix_of, security_of
from shared.settings import MIB, PlatformSettings

log = get_logger(__name__)
Take = Callable[[Msg], Awaitable[None]]

RECONNECT_WAIT_SECONDS = 1
# A line that carries nothing any more is given up after some 30 s; with the library's own 120 s it took six minutes.
PING_SECONDS = 10
UNANSWERED_PINGS = 2
# What may wait in the client while the broker is away; beyond it a publish fails at once instead of growing memory.
PENDING_BYTES = 8 * 1024 * 1024
TLS_ATTEMPT_SECONDS = 5.0
_CREDENTIALS = re.compile(r"//[^@/]*@")


def build_broker(
    settings: PlatformSettings,
    name: str,
    *,
    on_closed: Callable[[], Awaitable[None]],
    on_reconnected: Callable[[], Awaitable[None]],
    closing: Callable[[], bool],
    middlewares: Sequence[BrokerMiddleware[Msg, NatsPublishCommand]] = (),
) -> NatsBroker:
    """Return an unconnected broker that never acknowledges by itself.

    `on_closed` runs when the connection is closed for good, `on_reconnected` when it stands again; `closing` tells
    whether we close it ourselves.
    """

    async def on_disconnected() -> None:
        if not closing():
            log.warning("broker_disconnected", url=without_credentials(settings.nats_url))

    async def reconnected() -> None:
        log.info("broker_reconnected", url=without_credentials(settings.nats_url))
        await on_reconnected()

    async def on_error(error: Exception) -> None:
        log.warning("broker_error", error=error)

    return NatsBroker(
        settings.nats_url.split(","),
        name=name,
        security=security_of(settings),
        inbox_prefix=inbox_prefix_of(settings),
        # nats-py gives up after 60 attempts by default; its pull loops then spin and freeze the process.
        max_reconnect_attempts=-1,
        reconnect_time_wait=RECONNECT_WAIT_SECONDS,
        ping_interval=PING_SECONDS,
        max_outstanding_pings=UNANSWERED_PINGS,
        pending_size=PENDING_BYTES,
        error_cb=on_error,
        disconnected_cb=on_disconnected,
        reconnected_cb=reconnected,
        closed_cb=on_closed,
        ack_policy=AckPolicy.MANUAL,
        middlewares=middlewares,
        apply_types=False,
        graceful_timeout=settings.drain_seconds,
        logger=logging.getLogger("faststream"),
        log_level=logging.DEBUG,
    )


@dataclass(frozen=True, slots=True)
class PendingLimits:
    """What may wait in the process of one subscription, when messages come faster than they are taken."""

    messages: int = 4_096
    bytes: int = 16 * MIB

    @classmethod
    def of(cls, settings: PlatformSettings) -> Self:
        """Return the configured limits."""
        return cls(settings.nats_pending_messages, settings.nats_pending_bytes)

    async def subscribe(
        self, client: Client, subject: str, take: Take | None = None, *, queue: str = ""
    ) -> Subscription:
        """Subscribe within the limits; what comes beyond them is dropped, and the log says so (`broker_error`)."""
        return await client.subscribe(
            subject, queue=queue, cb=take, pending_msgs_limit=self.messages, pending_bytes_limit=self.bytes
        )


DEFAULT_PENDING = PendingLimits()


async def connect(broker: NatsBroker, settings: PlatformSettings) -> Client:
    """Connect within `nats_connect_seconds`; Unavailable names the address and the cause when that fails."""
    address = without_credentials(settings.nats_url)
    try:
        async with asyncio.timeout(settings.nats_connect_seconds):
            return await _connect_again_and_again(broker, uses_tls=TLS_SCHEME in settings.nats_url)
    except TimeoutError:
        raise Unavailable(
            f"no broker at {address} within {settings.nats_connect_seconds:g} s; start it or set RAG_NATS_URL"
        ) from None
    except Exception as error:
        raise Unavailable(f"cannot connect to the broker at {address}: {error}") from error


async def settle(client: Client) -> None:
    """Return once the broker has taken all that was sent before, subscriptions included; raises what `flush` raises.

    `flush` of nats-py 2 writes its PING past the commands that wait to be written. The reply to a first one tells that
    they have left, the reply to a second one that they have arrived.
    """
    if client.pending_data_size:
        await client.flush()
    await client.flush()


async def _connect_again_and_again(broker: NatsBroker, *, uses_tls: bool) -> Client:
    """Connect, however long it takes: the client library tries by itself, but for ever at one failed TLS handshake.

    It waits then for a line to be closed that was already replaced.
    """
    while uses_tls:
        with suppress(TimeoutError):
            async with asyncio.timeout(TLS_ATTEMPT_SECONDS):
                return await broker.connect()
    return await broker.connect()


def without_credentials(url: str) -> str:
    """Return broker addresses without user and password, fit for people to see."""
    return _CREDENTIALS.sub("//", url)
