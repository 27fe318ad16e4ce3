"""Persistence and a broker that lost what it held, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contracts import subjects
from services.persistence.settings import PersistenceSettings
from shared.messaging.provisioning import provision, renew_ingest
from tests.integration.persistence_database import happen, indexed, migrated
from tests.integration.persistence_service import Stand, persistence
from tests.running import client_of, eventually
from tests.servers import NatsServer
from tests.unit.persistence.histories import About

KNOWN = 5_000
# A message that is taken is acknowledged within a tenth of this.
LOOKED_AT_SECONDS = 1.0


async def problem(stand: Stand) -> str:
    """Return why the service takes no documents, once INGEST was compared with the database."""
    report = await stand.service.health.report()
    said = "" if report.ready else str(report.details["revisions"].get("error", ""))
    return said if "ends at" in said else ""


async def is_held(stand: Stand) -> None:
    """Check that intake was given the one message and keeps it, which is to be seen for as long as one looks."""

    async def delivered() -> bool:
        info = await stand.client.jetstream().consumer_info("INGEST", "persistence-intake")
        return info.delivered is not None and info.delivered.consumer_seq >= 1

    await eventually(delivered, "intake has the message", 40)
    await asyncio.sleep(LOOKED_AT_SECONDS)
    assert await stand.backlog("INGEST", "persistence-intake") == 1, "it is not acknowledged"


async def nothing_waits(stand: Stand) -> bool:
    return not await stand.backlog("INGEST", "persistence-intake")


@pytest.mark.usefixtures("each_database")
async def test_an_ingest_that_is_behind_the_database_is_refused_until_it_is_renewed(
    nats_broker: NatsServer, tmp_path: Path, each_database: PersistenceSettings
) -> None:
    """INVARIANT: nothing lost. The update would be dropped as outdated: its sequence is 1, the document's 5000."""
    with migrated(each_database) as database:
        happen(database, *indexed("handbook-7", KNOWN))
    async with persistence(nats_broker, tmp_path) as stand:
        revision = await stand.ingest(id="handbook-7", text="new")
        assert revision < KNOWN
        said = await eventually(lambda: problem(stand), "it is not ready and says why")
        assert f"but the database knows revision {KNOWN}" in said
        assert "rag provision --renew-ingest" in said
        await is_held(stand)
        assert (await stand.document("handbook-7"))["revision"] == KNOWN

        await renew_ingest(stand.client.jetstream(), replicas=1)
        # The consumer is new, and the pull that waited on the old one has to end first.
        again = await stand.ingest(id="handbook-7", text="new")
        await stand.status_is("handbook-7", "accepted", again)
        assert await problem(stand) == ""


@pytest.mark.extended
async def test_a_broker_that_is_exchanged_under_a_running_service_is_noticed(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: nothing lost. Also where the exchanged broker numbers from 1 again, as earlier releases made it."""
    async with persistence(nats_broker, tmp_path) as stand:
        for number in range(3):
            await stand.ingest(id=f"d{number}", text="t")
        await stand.worked_off()
        async with exchanged(nats_broker, stand, first_revision=1) as after:
            await after.ingest(id="d2", text="an update that must not be taken for older")
            said = await eventually(lambda: problem(after), "it is not ready and says why", 30)
            assert "but the database knows revision 3" in said
            await is_held(after)


@pytest.mark.extended
async def test_a_service_goes_on_with_a_new_broker_that_was_provisioned_anew(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: the later write wins across the loss of the broker, without a restart of persistence."""
    async with persistence(nats_broker, tmp_path) as stand:
        before = await stand.index_whole("d0")
        async with exchanged(nats_broker, stand, first_revision=None) as after:
            revision = await after.ingest(id="d0", text="new")
            assert revision > before
            # A pull that the lost broker held is taken for dead after three silent heartbeats.
            await eventually(lambda: nothing_waits(after), "intake pulls from the new broker", 40)
            await after.parsed("d0", revision, 1)
            await after.batch_indexed("d0", revision, 0)
            await after.status_is("d0", "indexed", revision)


@asynccontextmanager
async def exchanged(server: NatsServer, stand: Stand, first_revision: int | None) -> AsyncIterator[Stand]:
    """Put a broker with an empty store in the place of one, provisioned; yield the service as a new client sees it."""
    server.kill()
    server.store = server.store / "new"
    server.start()
    async with client_of(server.url) as client:
        jetstream = client.jetstream()
        assert (await jetstream.account_info()).streams == 0
        await provision(jetstream, replicas=1, first_revision=first_revision)
        yield Stand(stand.service, client)


async def test_documents_of_the_lost_broker_fail_when_database_and_index_are_compared(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: what was accepted reaches a terminal state, with the real queues asked where everything is."""
    with migrated(PersistenceSettings(data_dir=tmp_path)) as database:
        happen(database, About(3, "lost").accepted(), About(4, "half").accepted(), About(4, "half").parsed(2))
        happen(database, *indexed("whole", 5))
    async with client_of(nats_broker.url) as client:
        await renew_ingest(client.jetstream(), replicas=1)
    async with persistence(nats_broker, tmp_path, persistence_reconcile_settle_seconds=5) as stand:
        new = await stand.ingest(id="new", text="t")
        await stand.status_is("new", "accepted", new)
        found = await stand.ask(subjects.RECONCILE, cursor="unfinished::")
        assert found["counts"] == {"unfinished": {"send_again": 2}}
        for name, revision in (("lost", 3), ("half", 4)):
            assert (await stand.status_is(name, "failed", revision))["error"]["code"] == "message_lost"
        assert (await stand.document("new"))["status"] == "accepted"
        assert (await stand.ask(subjects.RECONCILE, cursor="unfinished::"))["counts"] == {}
