"""Services of ours inside the test's own event loop, on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, overload

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from starlette.applications import Starlette

from contracts.topology import Consumer
from shared.messaging.consuming import Handler, RawHandler
from shared.messaging.delivery import Delivery
from shared.service import Lifespan, Service, service_lifespan
from shared.settings import PlatformSettings

T = TypeVar("T")
PATIENCE_SECONDS = 15.0


@asynccontextmanager
async def running_service(
    name: str, settings: PlatformSettings, lifespan: Lifespan, *, prepare: Callable[[Service], None] | None = None
) -> AsyncIterator[Service]:
    """Run a service until the block ends; it is ready when the block begins.

    `prepare` may change the service before it binds its handlers.
    """
    service = Service(name, settings)
    if prepare is not None:
        prepare(service)
    async with service_lifespan(service, lifespan)(Starlette()):
        await eventually(lambda: service.health.waiting_for is None, f"{name} is ready")
        yield service


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Client]:
    """Connect to a broker as any program would."""
    client = await nats.connect(url.split(","))
    try:
        yield client
    finally:
        await client.close()


@overload
async def eventually(condition: Callable[[], Awaitable[T]], claim: str, seconds: float = ...) -> T: ...
@overload
async def eventually(condition: Callable[[], T], claim: str, seconds: float = ...) -> T: ...
async def eventually(condition: Callable[[], Any], claim: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Return the first true value of a condition; AssertionError names the claim that did not come true in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = condition()
        value = await found if isinstance(found, Awaitable) else found
        if value:
            return value
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds:g} s: {claim}"
        await asyncio.sleep(0.01)


def everything_twice(service: Service) -> None:
    """Have every handler called twice with every message, as after a crash between its work and its acknowledgement."""
    consume_raw, consume = service.consume_raw, service.consume

    def raw_twice(consumer: Consumer, handler: RawHandler, *, workers: int) -> None:
        async def twice(delivery: Delivery) -> None:
            await handler(delivery)
            await handler(delivery)

        consume_raw(consumer, twice, workers=workers)

    def decoded_twice(consumer: Consumer, model: Any, handler: Handler[Any], *, workers: int) -> None:
        async def twice(message: Any, delivery: Delivery) -> None:
            await handler(message, delivery)
            await handler(message, delivery)

        consume(consumer, model, twice, workers=workers)

    service.consume_raw = raw_twice  # type: ignore[method-assign]
    service.consume = decoded_twice  # type: ignore[method-assign]


async def stored(client: Client, stream: str) -> list[Msg]:
    """Return every message that a stream holds, in order, without taking any away."""
    jetstream = client.jetstream()
    state = (await jetstream.stream_info(stream)).state
    if state.messages == 0:
        return []
    subscription = await jetstream.subscribe("", stream=stream, ordered_consumer=True)
    try:
        return [await subscription.next_msg(timeout=5) for _ in range(state.messages)]
    finally:
        await subscription.unsubscribe()
