"""A service process that does with each message what the message says, for tests of the life of a process.

    python -m tests.integration.behaving_service

It consumes the durable `agent` and answers requests on SUBJECT. A message is JSON: {"do": "work", "seconds": 1} works,
"hold" never ends, "ignore" not even when it is cut off, "thread" keeps a thread busy, "freeze" blocks the event loop,
"deafen" breaks the process's own pull and nothing else.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from contracts import topology
from contracts.reads import CollectionList, CollectionsQuery
from shared.messaging.delivery import Delivery
from shared.service import Service
from shared.serving import run_service
from shared.settings import PlatformSettings, load

SUBJECT: Final = "rag.v1.read.collections"
WORKERS: Final = 2
RESPONSE_SECONDS: Final = 0.5


@asynccontextmanager
async def lifespan(service: Service) -> AsyncIterator[None]:
    """Bind the handlers."""

    async def on_message(delivery: Delivery) -> None:
        order = json.loads(delivery.payload)
        _say(began=order, deliveries=delivery.deliveries)
        await _obey(service, order)
        _say(ended=order)

    async def on_request(_query: CollectionsQuery, _deadline: float | None) -> CollectionList:
        _say(asked=True)
        await asyncio.sleep(RESPONSE_SECONDS)
        return CollectionList(items=[])

    service.consume_raw(topology.AGENT, on_message, workers=WORKERS)
    service.respond(SUBJECT, CollectionsQuery, on_request)
    yield


def _say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


async def _obey(service: Service, order: dict[str, object]) -> None:
    if order["do"] == "work":
        await asyncio.sleep(float(str(order.get("seconds", 0))))
    elif order["do"] == "hold":
        await asyncio.Event().wait()
    elif order["do"] == "ignore":
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
    elif order["do"] == "thread":
        await asyncio.to_thread(time.sleep, float(str(order["seconds"])))
    elif order["do"] == "freeze":
        time.sleep(float(str(order["seconds"])))  # noqa: ASYNC251  # It is meant to block the loop.
    elif order["do"] == "deafen":
        (subscriber,) = service._subscribers
        assert subscriber.subscription is not None
        await subscriber.subscription._sub.unsubscribe()


if __name__ == "__main__":
    run_service("agent", load(PlatformSettings), lifespan)
