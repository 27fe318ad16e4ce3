"""A connection to the broker as the user who may change its topology."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from contracts.permissions import PROVISIONER
from services.cli.data_folder import DataFolder
from services.cli.errors import CommandError
from shared.access import is_loopback
from shared.errors import Misconfigured
from shared.messaging.broker import without_credentials
from shared.messaging.broker_login import inbox_of, tls_context
from shared.settings import PlatformSettings

REPLY_TIMEOUT_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 2.0
TLS_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """Where the broker is and who we are to it."""

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    tls_first: bool = True

    @classmethod
    def of(cls, settings: PlatformSettings, url: str) -> "BrokerLogin":
        """Take user and password from the settings, or for a broker on this machine from the data folder."""
        try:
            tls, first = tls_context(settings, url), settings.nats_tls_first
        except Misconfigured as error:
            raise CommandError(error.message) from None
        if settings.nats_user:
            return cls(url, settings.nats_user, settings.nats_password, tls, first)
        data = DataFolder(settings.data_dir)
        local = all(is_loopback(urlsplit(part).hostname or "") for part in url.split(","))
        if local and data.password_file(PROVISIONER).exists():
            return cls(url, PROVISIONER, data.password(PROVISIONER), tls, first)
        return cls(url, tls=tls, tls_first=first)


@asynccontextmanager
async def jetstream(
    login: BrokerLogin, *, connect_seconds: float, lost: asyncio.Event | None = None
) -> AsyncIterator[JetStreamContext]:
    """Connect for the block; CommandError names the address and the cause when that fails.

    `lost` is set as soon as the connection breaks.
    """
    address = without_credentials(login.url)
    failures: list[Exception] = []

    async def remember(error: Exception) -> None:
        failures.append(error)

    async def break_off() -> None:
        if lost is not None:
            lost.set()

    client = Client()
    try:
        # The client library waits for ever after a TLS handshake that failed, see shared/messaging/broker.py.
        async with asyncio.timeout(min(connect_seconds, TLS_SECONDS) if login.tls else None):
            await client.connect(
                login.url.split(","),
                user=login.user,
                password=login.password,
                name="rag",
                connect_timeout=max(1, int(connect_seconds)),
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                inbox_prefix=inbox_of(login.user),
                tls=login.tls,
                tls_handshake_first=login.tls is not None and login.tls_first,
                error_cb=remember,
                disconnected_cb=break_off,
            )
    except (NatsError, OSError, TimeoutError) as error:
        await close(client)
        cause = failures[-1] if failures else error
        raise CommandError(
            f"no broker at {address} ({str(cause) or type(cause).__name__}); start it with `rag up`, or check "
            "RAG_NATS_URL, RAG_NATS_USER and RAG_NATS_PASSWORD"
        ) from None
    try:
        yield client.jetstream(timeout=REPLY_TIMEOUT_SECONDS)
    except (NatsError, TimeoutError) as error:
        cause = failures[-1] if failures else error
        hint = "" if login.user else "; set RAG_NATS_USER and RAG_NATS_PASSWORD, or RAG_DATA_DIR to its data folder"
        raise CommandError(f"the broker at {address} refused: {str(cause) or type(cause).__name__}{hint}") from error
    finally:
        await close(client)


async def close(client: Client) -> None:
    """Close a connection; one whose TLS handshake failed would never say that it is closed."""
    with suppress(TimeoutError):
        await asyncio.wait_for(client.close(), CLOSE_SECONDS)
