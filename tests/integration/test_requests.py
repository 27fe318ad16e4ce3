"""Request and reply: errors arrive as what they are, nobody works for a caller who has gone, nothing is unbounded."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from contracts import subjects
from contracts.reads import CollectionList, CollectionsQuery
from shared.errors import DeadlineExpired, InvalidMessage, NotFound, Overloaded, PlatformError, Rejected, Unavailable
from shared.messaging.broker import settle
from shared.messaging.requests import Requester, respond
from shared.metrics import MessagingMetrics
from tests.running import client_of
from tests.servers import NatsServer

Handler = Callable[[CollectionsQuery, float | None], Awaitable[CollectionList]]
TRACER = NoOpTracerProvider().get_tracer("test")
METRICS = MessagingMetrics(NoOpMeterProvider().get_meter("test"))
SUBJECT = subjects.READ_COLLECTIONS


async def ask(
    server: NatsServer, handler: Handler | None, *, tenant: str = "t", seconds: float = 5.0
) -> CollectionList:
    async with client_of(server.url) as client:
        if handler is not None:
            await respond(client, TRACER, METRICS, SUBJECT, CollectionsQuery, handler, queue="q", concurrency=1)
            await settle(client)
        requester = Requester(client, TRACER, timeout_seconds=seconds)
        return await requester.ask(SUBJECT, CollectionsQuery(tenant=tenant), CollectionList)


@pytest.mark.parametrize(
    "error", [NotFound("no x", field="id"), Unavailable("gone"), Overloaded("full"), Rejected("no")]
)
async def test_the_caller_gets_the_error_that_the_other_side_raised(
    bare_nats: NatsServer, error: PlatformError
) -> None:
    async def handler(_request: CollectionsQuery, _deadline: float | None) -> CollectionList:
        raise error

    with pytest.raises(type(error)) as raised:
        await ask(bare_nats, handler)
    assert raised.value.message == error.message
    assert raised.value.field == error.field


async def test_nobody_there_is_said_at_once(bare_nats: NatsServer) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match="nobody answers"):
        await ask(bare_nats, None)
    assert time.monotonic() - started < 1


async def test_silence_ends_with_the_caller_s_patience(bare_nats: NatsServer) -> None:
    async def silent(_request: CollectionsQuery, _deadline: float | None) -> CollectionList:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(Unavailable, match="no answer"):
        await ask(bare_nats, silent, seconds=0.2)


async def test_broken_requests_name_the_field(bare_nats: NatsServer) -> None:
    async def handler(_request: CollectionsQuery, _deadline: float | None) -> CollectionList:
        raise AssertionError("must not be reached")

    async with client_of(bare_nats.url) as client:
        await respond(client, TRACER, METRICS, SUBJECT, CollectionsQuery, handler, queue="q", concurrency=1)
        reply = await client.request(SUBJECT, b'{"tenant": 5}', timeout=2)
    assert (reply.headers or {})["Rag-Error"] == InvalidMessage.code
    assert b'"field":"tenant"' in reply.data


async def test_expired_requests_are_not_worked_on(bare_nats: NatsServer) -> None:
    calls = 0

    async def handler(_request: CollectionsQuery, _deadline: float | None) -> CollectionList:
        nonlocal calls
        calls += 1
        return CollectionList(items=[])

    async with client_of(bare_nats.url) as client:
        await respond(client, TRACER, METRICS, SUBJECT, CollectionsQuery, handler, queue="q", concurrency=1)
        reply = await client.request(SUBJECT, b'{"tenant":"t"}', timeout=2, headers={subjects.HEADER_DEADLINE: "1000"})
    assert (reply.headers or {})["Rag-Error"] == DeadlineExpired.code
    assert calls == 0


async def test_callers_beyond_the_bound_are_turned_away(bare_nats: NatsServer) -> None:
    release = asyncio.Event()

    async def handler(_request: CollectionsQuery, _deadline: float | None) -> CollectionList:
        await release.wait()
        return CollectionList(items=[])

    async with client_of(bare_nats.url) as client:
        await respond(client, TRACER, METRICS, SUBJECT, CollectionsQuery, handler, queue="q", concurrency=2)
        await settle(client)
        requester = Requester(client, TRACER, timeout_seconds=5)
        asked = [
            asyncio.create_task(requester.ask(SUBJECT, CollectionsQuery(tenant="t"), CollectionList)) for _ in range(20)
        ]
        done, waiting = await asyncio.wait(asked, timeout=1)
        assert len(waiting) == 8
        assert all(isinstance(task.exception(), Overloaded) for task in done)
        release.set()
        assert all(reply.items == [] for reply in await asyncio.gather(*waiting))
