"""The end of a process that does not go as it should: signals again, handlers and threads that never end."""

import asyncio
import signal
import time
from typing import Any

import pytest

from shared.ending import CLOSING_SECONDS, EXIT_NOT_ENDED
from shared.service import EXIT_CONNECTION_LOST
from tests.integration.test_process_lifecycle import order, ready, service
from tests.running import eventually
from tests.servers import NatsServer

SOON_SECONDS = 8.0


def logged(process: Any, event: str) -> list[dict[str, Any]]:
    return [line for line in process.all() if line.get("event") == event]


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_cuts_off_what_runs_and_gives_it_back(nats_broker: NatsServer, again: int) -> None:
    async with ready(nats_broker, RAG_DRAIN_SECONDS="60") as (process, client):
        await order(client, 1, "hold")
        await eventually(lambda: process.has("began", number=1), "it is in work")
        process.popen.terminate()
        await eventually(lambda: logged(process, "service_stopping"), "it is ending")
        asked_at = time.monotonic()
        process.popen.send_signal(again)
        assert await process.ended() == 0
        assert time.monotonic() - asked_at < SOON_SECONDS
        with service(nats_broker.url) as other:
            await eventually(lambda: other.has("began", number=1), "another process has it at once")
    assert [line["sequence"] for line in logged(process, "message_abandoned")] == [1]


async def test_a_handler_that_does_not_notice_that_it_was_cut_off_keeps_neither_message_nor_process(
    nats_broker: NatsServer,
) -> None:
    async with ready(nats_broker, RAG_DRAIN_SECONDS="1") as (process, client):
        await order(client, 1, "ignore")
        await eventually(lambda: process.has("began", number=1), "it is in work")
        asked_at = time.monotonic()
        process.popen.terminate()
        with service(nats_broker.url) as other:
            await eventually(lambda: other.has("began", number=1), "another process has it at once")
        assert await process.ended(30) == EXIT_NOT_ENDED
        assert time.monotonic() - asked_at < 1 + CLOSING_SECONDS + 5
    assert [(line["consumer"], line["sequence"]) for line in logged(process, "message_abandoned")] == [("agent", 1)]
    assert logged(process, "service_closed"), "the connection was closed and telemetry flushed all the same"
    assert "in _obey" in process.errors


async def test_a_thread_that_goes_on_does_not_keep_the_process(nats_broker: NatsServer) -> None:
    async with ready(nats_broker, RAG_DRAIN_SECONDS="1") as (process, client):
        await order(client, 1, "thread", seconds=60)
        await eventually(lambda: process.has("began", number=1), "it is in work")
        asked_at = time.monotonic()
        process.popen.terminate()
        assert await process.ended() == 0
        assert time.monotonic() - asked_at < SOON_SECONDS
    assert [line["sequence"] for line in logged(process, "message_abandoned")] == [1]
    assert logged(process, "service_closed")


async def test_it_says_what_it_does_in_order(nats_broker: NatsServer) -> None:
    """INVARIANT: ready means consuming: who is asked to end says so before it stops, and fetches nothing after that."""
    async with ready(nats_broker, RAG_DRAIN_SECONDS="20") as (process, client):
        await order(client, 1, "work", seconds=3)
        await eventually(lambda: process.has("began", number=1), "it is in work")
        process.popen.terminate()
        body = await process.becomes("/ready", 503)
        assert body["waiting_for"] == "shutdown"
        assert (await process.state("/live"))[0] == 200
        assert process.has("ended", number=1) is None, "the work still runs"
        pulls = await pulling(client)
        await order(client, 2, "work")
        assert await process.ended() == 0
        assert process.has("began", number=2) is None
        assert (pulls, await pulling(client)) == (0, 0)
    events = process.events()
    assert events[-3:] == ["service_stopping", "service_drained", "service_closed"]


async def pulling(client: Any) -> int:
    """Return how many requests for messages stand at the broker once the fetch of the moment is over."""
    await asyncio.sleep(1.5)
    waiting: int = (await client.jetstream().consumer_info("QUERIES", "agent")).num_waiting
    return waiting


async def test_a_password_that_is_no_longer_valid_ends_the_process_with_its_code(nats_broker: NatsServer) -> None:
    async with ready(nats_broker) as (process, _):
        assert EXIT_CONNECTION_LOST
        await asyncio.sleep(0)
        assert process.popen.poll() is None
