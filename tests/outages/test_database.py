"""PostgreSQL behind a line that freezes, breaks and lies; SQLite on a full disk: messages wait, readers are told."""

import asyncio
import logging
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from contracts import subjects
from contracts.facts import DocumentAccepted
from contracts.reads import DocumentQuery, DocumentView
from services.persistence import database as database_module
from shared.errors import Unavailable
from tests.integration.persistence_database import postgresql
from tests.integration.persistence_service import TENANT, Stand, persistence
from tests.running import eventually, stored
from tests.servers import NatsServer
from tests.tcp_proxy import Fault, TcpProxy, tcp_proxy

log = logging.getLogger(__name__)
STATEMENT_SECONDS = 0.5
ANSWER_SLACK_SECONDS = 0.5
DOCUMENTS = 20


@pytest.fixture
async def line(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[TcpProxy, str]]:
    """A proxy before a database of the test's own, and that database's address behind it."""
    monkeypatch.setattr(database_module, "ANSWER_SLACK_SECONDS", ANSWER_SLACK_SECONDS)
    monkeypatch.setattr(database_module, "CONNECT_TIMEOUT_SECONDS", 2)
    with postgresql().database() as url:
        async with tcp_proxy(make_url(url).port or 5432) as proxy:
            behind = make_url(url).set(port=proxy.port).render_as_string(hide_password=False)
            yield proxy, behind


@asynccontextmanager
async def running(broker: NatsServer, data: Path, url: str) -> AsyncIterator[Stand]:
    settings: dict[str, Any] = {
        "database_url": url,
        "persistence_statement_timeout_seconds": STATEMENT_SECONDS,
        "request_timeout_seconds": 2.0,
    }
    async with persistence(broker, data, **settings) as stand:
        yield stand


async def is_told(stand: Stand) -> None:
    """See a reader be told in time, as often as it asks."""
    query = DocumentQuery(tenant=TENANT, document_id="before")
    for _ in range(6):
        asked_at = time.monotonic()
        with pytest.raises(Unavailable):
            await stand.service.requester.ask(subjects.READ_DOCUMENT, query, DocumentView, deadline=time.time() + 0.5)
        assert time.monotonic() - asked_at < 1.0


Spoil = Callable[[TcpProxy], Awaitable[None]]


async def refused(proxy: TcpProxy) -> None:
    await proxy.go_away()


def spoilt(fault: Fault) -> Spoil:
    async def spoil(proxy: TcpProxy) -> None:
        proxy.spoil(to_client=fault)

    return spoil


FAILURES: dict[str, Spoil] = {
    "refused": refused,
    "frozen": spoilt(Fault(hold=True)),
    "silent": spoilt(Fault(swallow=True)),
    "too slow": spoilt(Fault(delay_seconds=2 * (STATEMENT_SECONDS + ANSWER_SLACK_SECONDS))),
    "garbage on the line": spoilt(Fault(garbage=True)),
    "cut in the middle": spoilt(Fault(cut_after_bytes=20)),
}


async def is_ready(stand: Stand, wanted: bool) -> bool:
    return (await stand.service.health.report()).ready == wanted


LONG = ("silent", "too slow")
CASES = [pytest.param(name, marks=pytest.mark.extended if name in LONG else ()) for name in FAILURES]


@pytest.mark.parametrize("failure", CASES)
async def test_messages_wait_for_postgresql_and_readers_are_told(
    nats_broker: NatsServer,
    tmp_path: Path,
    line: tuple[TcpProxy, str],
    failure: str,
) -> None:
    """INVARIANT: dependencies may go away; nothing is lost, no reader hangs, and all go on when it is back."""
    proxy, url = line
    async with running(nats_broker, tmp_path, url) as stand:
        await stand.index_whole("before")
        await stand.worked_off()
        await FAILURES[failure](proxy)
        revisions = [await stand.ingest(id=f"d{number}", text="t") for number in range(3)]
        await eventually(lambda: is_ready(stand, False), "the service says that it cannot write")
        asked_at = time.monotonic()
        report = await stand.service.health.report()
        assert time.monotonic() - asked_at < 1.0
        assert report.details["database"]["status"] == "failed"
        await is_told(stand)
        assert await stand.backlog("INGEST", "persistence-intake") == 3
        proxy.heal()
        await proxy.come_back()
        healed_at = time.monotonic()
        for number, revision in enumerate(revisions):
            await stand.status_is(f"d{number}", "accepted", revision)
        log.info("%s: back at work after %.2f s", failure, time.monotonic() - healed_at)
        await stand.worked_off()
        await eventually(lambda: is_ready(stand, True), "the service says that it is well")
        assert await stored(stand.client, "DEAD") == []


async def test_a_line_that_breaks_again_and_again_loses_and_doubles_nothing(
    nats_broker: NatsServer, tmp_path: Path, line: tuple[TcpProxy, str]
) -> None:
    """INVARIANT: effects happen once, also when the answer to a commit is lost on the way."""
    proxy, url = line
    async with running(nats_broker, tmp_path, url) as stand:

        async def break_it() -> None:
            while True:
                await asyncio.sleep(0.05)
                proxy.cut()

        breaking = asyncio.create_task(break_it())
        revisions = [await stand.ingest(id=f"d{number}", text="t") for number in range(DOCUMENTS)]
        await eventually(lambda: proxy.accepted > 20, "the line broke often")
        breaking.cancel()
        for number, revision in enumerate(revisions):
            await stand.status_is(f"d{number}", "accepted", revision)
        await stand.worked_off()
        said = await stand.facts(DocumentAccepted, subjects.DOCUMENT_ACCEPTED)
        assert sorted(fact.document_id for fact in said) == sorted(f"d{number}" for number in range(DOCUMENTS))
        assert await stored(stand.client, "DEAD") == []


async def test_the_process_ends_in_time_while_the_database_is_frozen(
    nats_broker: NatsServer, tmp_path: Path, line: tuple[TcpProxy, str]
) -> None:
    proxy, url = line
    async with running(nats_broker, tmp_path, url) as stand:
        await FAILURES["frozen"](proxy)
        await stand.ingest(id="d", text="t")
        await eventually(lambda: is_ready(stand, False), "the service says that it cannot write")
        ends_at = time.monotonic()
    assert time.monotonic() - ends_at < 10


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: the kernel refuses the write, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_messages_wait_for_room_on_the_disk_of_sqlite(nats_broker: NatsServer, tmp_path: Path) -> None:
    """INVARIANT: dependencies may go away; a disk that is full loses nothing and readers go on."""
    async with persistence(nats_broker, tmp_path) as stand:
        await stand.index_whole("before")
        await stand.worked_off()
        with full_disk((tmp_path / "rag.db-wal").stat().st_size):
            revision = await stand.ingest(id="d", text="t")
            await eventually(lambda: is_ready(stand, False), "the service says that it cannot write")
            reason = (await stand.service.health.report()).details["database"]["error"]
            assert "the database does not do its work" in reason
            assert (await stand.document("before"))["status"] == "indexed"
            assert await stand.backlog("INGEST", "persistence-intake") == 1
        await stand.status_is("d", "accepted", revision)
        await stand.worked_off()
        assert await is_ready(stand, True)
        assert await stored(stand.client, "DEAD") == []
