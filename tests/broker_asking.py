"""Asking services over the broker as the machine's owner, with replies sent where they may be sent to."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.permissions import inbox_prefix
from contracts.traffic import TRAFFIC
from tests.platform_process import RunningPlatform

ASKERS: Mapping[str, str] = {item.subject: item.sends[0] for item in TRAFFIC if item.answers and item.sends}


class Asking:
    """One connection for each service that asks: those that answer reply to its inbox and to no other."""

    def __init__(self, platform: RunningPlatform, runner: asyncio.Runner) -> None:
        self._platform, self._runner = platform, runner
        self._clients: dict[str, Client] = {}

    def request(self, subject: str, body: bytes, *, timeout: float, headers: dict[str, str] | None = None) -> Msg:
        """Return the reply."""
        client = self._client(ASKERS[subject])
        return self._runner.run(client.request(subject, body, timeout=timeout, headers=headers))

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            self._runner.run(client.close())

    def _client(self, asker: str) -> Client:
        if asker not in self._clients:
            self._clients[asker] = self._runner.run(connected(self._platform, asker))
        return self._clients[asker]


async def connected(platform: RunningPlatform, asker: str = "gateway") -> Client:
    """Return a connection of the user `platform` that gets its replies where `asker` gets them."""
    return await nats.connect(
        platform.nats_url,
        user="platform",
        password=platform.password,
        inbox_prefix=inbox_prefix(asker).encode(),
        max_reconnect_attempts=-1,
    )


@contextmanager
def asking(platform: RunningPlatform) -> Iterator[Asking]:
    """Ask within the block."""
    with asyncio.Runner() as runner:
        found = Asking(platform, runner)
        try:
            yield found
        finally:
            found.close()
