"""Acting on the broker of a running platform, past its gateway, as the platform's own user."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from nats.aio.client import Client

from contracts import subjects
from tests.broker_asking import connected
from tests.platform_process import RunningPlatform


def on_broker(platform: RunningPlatform, act: Callable[[Client], Awaitable[Any]]) -> None:
    """Do something as the platform's own user."""

    async def acted() -> None:
        client = await connected(platform)
        try:
            await act(client)
        finally:
            await client.close()

    # On a thread of its own: a test that drives a browser has a loop in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(acted())).result()


def publish(platform: RunningPlatform, *documents: dict[str, Any] | bytes, tenant: str = "default") -> None:
    """Send messages for the parser, whatever is in them."""

    async def act(client: Client) -> None:
        for document in documents:
            payload = document if isinstance(document, bytes) else json.dumps(document).encode()
            await client.jetstream().publish(subjects.ingest(tenant), payload)

    on_broker(platform, act)


def put_object(platform: RunningPlatform, name: str, content: bytes) -> None:
    """Store a payload where the parser looks for it."""

    async def act(client: Client) -> None:
        await (await client.jetstream().object_store(subjects.UPLOADS_BUCKET)).put(name, content)

    on_broker(platform, act)
