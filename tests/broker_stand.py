"""A broker with the users of an installation, for tests of what each of them may do."""

import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nats
from nats.aio.client import Client

from contracts.permissions import PLATFORM, fixed_users, inbox_prefix, producer_user, tool_user
from services.cli.broker_config import BrokerOptions, BrokerTLS, broker_config, server_binary
from tests.servers import START_TIMEOUT_SECONDS, free_port, wait_for_port

TENANT = "acme"
TOOL = "temperature"
USERS = (PLATFORM, *fixed_users(), producer_user(TENANT), tool_user(TOOL))


@dataclass
class GuardedBroker:
    """A running server; everybody's password is his name backwards."""

    port: int
    monitor_port: int
    store: Path
    passwords: dict[str, str] = field(default_factory=lambda: {user: user[::-1] for user in USERS})
    tls: BrokerTLS | None = None

    @property
    def url(self) -> str:
        """Return the address to connect to."""
        return f"{'tls' if self.tls else 'nats'}://127.0.0.1:{self.port}"

    def options(self) -> BrokerOptions:
        """Return what the configuration is made of."""
        return BrokerOptions(self.port, self.monitor_port, self.store, self.passwords, self.tls)

    @asynccontextmanager
    async def connected(
        self, user: str | None, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[tuple[Client, "Violations"]]:
        """Connect as a user, None = without credentials, for the block."""
        violations = Violations()
        client = await nats.connect(
            self.url,
            user=user,
            password=None if user is None else self.passwords[user],
            inbox_prefix="_INBOX" if user is None else inbox_prefix(user),
            error_cb=violations.add,
            tls=tls,
            tls_handshake_first=tls is not None,
            max_reconnect_attempts=0,
        )
        try:
            yield client, violations
        finally:
            await client.close()


class Violations:
    """What the server refused a connection, as it says it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def add(self, error: Exception) -> None:
        """Take note of an error of the connection."""
        self.told.append(str(error))

    def of(self, kind: str) -> set[str]:
        """Return the subjects of refused `publish` or `subscription`, in lower case as the client tells them."""
        marks = [told.partition(f"permissions violation for {kind} to ")[2] for told in map(str.lower, self.told)]
        return {mark.split('"')[1] for mark in marks if mark}


@contextlib.contextmanager
def guarded_broker(folder: Path, tls: BrokerTLS | None = None) -> Iterator[GuardedBroker]:
    """Run a broker as `rag up` configures it, without its topology."""
    store = folder / "store"
    store.mkdir()
    broker = GuardedBroker(free_port(), free_port(), store, tls=tls)
    config = folder / "nats.conf"
    config.write_text(broker_config(broker.options()))
    process = subprocess.Popen([str(server_binary()), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(broker.port, process)
        yield broker
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_SECONDS)
