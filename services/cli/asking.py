"""One question to the gateway, from the synchronous code of a command."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from services.cli.answer_stream import StreamEvent, answer_events
from services.cli.client import Gateway

# A model behind the agent may take its time.
ANSWER_TIMEOUT_SECONDS: Final = 180.0
PAGE_SIZE: Final = 200


def ask_gateway(url: str, path: str, body: Mapping[str, Any]) -> Any:
    """Return the reply to a POST; fields that are None are left out."""
    fields = {name: value for name, value in body.items() if value is not None}

    async def post() -> Any:
        async with Gateway(url, timeout_seconds=ANSWER_TIMEOUT_SECONDS) as gateway:
            return await gateway.post(path, fields)

    return asyncio.run(post())


def stream_answer(
    url: str, body: Mapping[str, Any], take: Callable[[AsyncIterator[StreamEvent]], Awaitable[None]]
) -> None:
    """Ask a question and have `take` called with the events of its answer; fields that are None are left out."""
    fields = {name: value for name, value in body.items() if value is not None}

    async def stream() -> None:
        async with Gateway(url) as gateway, aclosing(answer_events(gateway, fields)) as events:
            await take(events)

    asyncio.run(stream())


def read_gateway(url: str, path: str, params: Mapping[str, Any] | None = None) -> Any:
    """Return the reply to a GET."""

    async def get() -> Any:
        async with Gateway(url) as gateway:
            return await gateway.get(path, params)

    return asyncio.run(get())


def read_pages(
    url: str, path: str, wanted: Mapping[str, Any], limit: int, *, items: str = "items", page_size: int = PAGE_SIZE
) -> dict[str, Any]:
    """Return the first page of a list with up to `limit` of its items, however many pages the gateway makes of them."""

    async def collect() -> dict[str, Any]:
        found: list[Any] = []
        cursor: str | None = None
        async with Gateway(url) as gateway:
            while True:
                params = {**wanted, "cursor": cursor, "limit": min(page_size, limit - len(found))}
                page: dict[str, Any] = await gateway.get(path, params)
                found += page[items]
                cursor = page.get("next_cursor")
                if cursor is None or len(found) >= limit:
                    return {**page, items: found, "next_cursor": cursor}

    return asyncio.run(collect())


def delete_at_gateway(url: str, path: str) -> Any:
    """Return the reply to a DELETE."""

    async def delete() -> Any:
        async with Gateway(url) as gateway:
            return await gateway.delete(path)

    return asyncio.run(delete())
