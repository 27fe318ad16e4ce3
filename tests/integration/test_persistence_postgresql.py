"""The persistence service while PostgreSQL is stopped, killed and slow."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from contracts import subjects
from contracts.facts import DocumentIndexed
from tests.integration.persistence_service import Stand, persistence
from tests.postgres import NoPostgreSQL, PostgresServer, postgres_server
from tests.running import eventually, stored
from tests.servers import NatsServer


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresServer]:
    """A server that tests may kill."""
    try:
        with postgres_server() as server:
            yield server
    except NoPostgreSQL as error:
        pytest.skip(str(error))


@pytest.fixture
def server(running: PostgresServer) -> Iterator[PostgresServer]:
    """The server with nothing in it."""
    yield running
    if running.process is None:
        running.start()
    with psycopg.connect(running.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


async def is_ready(stand: Stand) -> bool:
    return (await stand.service.health.report()).ready


async def is_away(stand: Stand) -> bool:
    return not await is_ready(stand)


@pytest.mark.parametrize(
    "patience", [{}, {"persistence_outage_patience_seconds": 0.1}], ids=["in the service", "in the queue"]
)
@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_messages_wait_while_the_server_is_away_and_are_recorded_once_when_it_is_back(
    nats_broker: NatsServer, tmp_path: Path, server: PostgresServer, end: str, patience: dict[str, float]
) -> None:
    """INVARIANT: dependencies may go away. A failure that counted as the message's own would use up its deliveries."""
    settings: dict[str, Any] = {"database_url": server.url, **patience}
    async with persistence(nats_broker, tmp_path, **settings) as stand:
        await stand.index_whole("before")
        await stand.worked_off()
        await asyncio.to_thread(getattr(server, end))
        waiting = await stand.ingest(id="d", text="t")
        await stand.parsed("d", waiting, batches=1)
        await stand.batch_indexed("d", waiting, 0)
        await eventually(lambda: is_away(stand), "the service says that it cannot write")
        reply = await stand.document("before")
        assert (reply["kind"], reply["code"]) == ("retryable", "database_unavailable")
        assert await stand.backlog("INGEST", "persistence-intake") == 1
        await asyncio.to_thread(server.start)
        found = await stand.status_is("d", "indexed", waiting)
        assert found["chunks"] == {"total": 10, "indexed": 10}
        await stand.worked_off()
        assert await is_ready(stand)
        assert (await stand.document("before"))["status"] == "indexed"
        said = await stand.facts(DocumentIndexed, subjects.DOCUMENT_INDEXED)
        assert [fact.document_id for fact in said] == ["before", "d"]
        assert await stored(stand.client, "DEAD") == []


async def test_the_service_starts_before_its_database_and_waits_for_it(
    nats_broker: NatsServer, tmp_path: Path, server: PostgresServer
) -> None:
    await asyncio.to_thread(server.stop)
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    async with persistence(nats_broker, tmp_path, database_url=server.url) as stand:
        await starting
        await stand.index_whole("d")


async def test_a_table_that_another_session_holds_makes_messages_wait_and_not_fail(
    nats_broker: NatsServer, tmp_path: Path, server: PostgresServer
) -> None:
    settings: dict[str, Any] = {"database_url": server.url, "persistence_statement_timeout_seconds": 0.2}
    async with persistence(nats_broker, tmp_path, **settings) as stand:
        await stand.index_whole("before")
        with psycopg.connect(server.url) as other:
            other.execute("LOCK TABLE documents IN ACCESS EXCLUSIVE MODE")
            waiting = await stand.ingest(id="d", text="t")
            await eventually(lambda: is_away(stand), "the service says that it cannot write")
            other.rollback()
        await stand.status_is("d", "accepted", waiting)
        await stand.worked_off()
        assert await stored(stand.client, "DEAD") == []
