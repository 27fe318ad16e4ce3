"""A connection to the broker as the user that may change its topology."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from services.cli.broker_config import PLATFORM_USER
from services.cli.data_folder import DataFolder
from services.cli.errors import CommandError
from shared.access import is_loopback
from shared.messaging.broker import INBOX_PREFIX, without_credentials
from shared.settings import PlatformSettings

REPLY_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """Where the broker is and who we are to it."""

    url: str
    user: str | None = None
    password: str | None = None

    @classmethod
    def of(cls, settings: PlatformSettings, url: str) -> "BrokerLogin":
        """Take user and password from the settings, or for a broker on this machine from the data folder."""
        if settings.nats_user:
            return cls(url, settings.nats_user, settings.nats_password)
        data = DataFolder(settings.data_dir)
        if all(is_loopback(urlsplit(part).hostname or "") for part in url.split(",")) and data.password_file.exists():
            return cls(url, PLATFORM_USER, data.password())
        return cls(url)


@asynccontextmanager
async def jetstream(login: BrokerLogin, *, connect_seconds: float) -> AsyncIterator[JetStreamContext]:
    """Connect for the block; CommandError names the address and the cause when that fails."""
    address = without_credentials(login.url)
    failures: list[Exception] = []

    async def remember(error: Exception) -> None:
        failures.append(error)

    client = Client()
    try:
        await client.connect(
            login.url.split(","),
            user=login.user,
            password=login.password,
            name="rag",
            connect_timeout=max(1, int(connect_seconds)),
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            inbox_prefix=INBOX_PREFIX.encode(),
            error_cb=remember,
        )
    except (NatsError, OSError, TimeoutError) as error:
        await client.close()
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
        await client.close()
