"""Deletes of whole collections through the persistence service, on a real broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from nats.aio.msg import Msg

from contracts import subjects
from contracts.codec import encode
from contracts.facts import DocumentDeleted
from contracts.reconciliation import FencesReply
from services.persistence import sweeping
from shared.messaging.broker import settle
from tests.integration.persistence_service import Stand, persistence
from tests.running import eventually, everything_twice
from tests.servers import NatsServer


@asynccontextmanager
async def fences(stand: Stand, floors: list[tuple[str, int]]) -> AsyncIterator[None]:
    """Stand in for the retriever's fences; `floors` is what it was asked to hide, in order."""

    async def hide(message: Msg) -> None:
        floors.extend((each["collection"], each["floor"]) for each in orjson.loads(message.data)["fences"])
        await message.respond(encode(FencesReply(behind=[])))

    subscription = await stand.client.subscribe(subjects.INDEX_FENCES, cb=hide)
    await settle(stand.client)
    try:
        yield
    finally:
        await subscription.unsubscribe()


async def statuses(stand: Stand, collection: str) -> dict[str, str]:
    """Return every document that is not deleted."""
    page = await stand.ask(subjects.READ_DOCUMENTS, collection=collection, limit=500)
    return {item["id"]: item["status"] for item in page["items"]}


async def load(stand: Stand, number: int, collection: str) -> list[int]:
    return [await stand.ingest(id=f"d{n:03}", collection=collection, text="t") for n in range(number)]


async def test_every_document_of_the_collection_goes_and_what_comes_later_stays(
    nats_broker: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: the later write wins, for a collection as for a document; every message may be handled twice."""
    monkeypatch.setattr(sweeping, "PAGE_DOCUMENTS", 7)
    floors: list[tuple[str, int]] = []
    async with persistence(nats_broker, tmp_path, everything_twice) as stand, fences(stand, floors):
        first = await stand.index_whole("shown", collection="manuals")
        await load(stand, 20, "manuals")
        await stand.ingest(id="other", collection="else", text="t")
        deleted = await stand.ingest(op="delete_collection", collection="manuals")
        later = await stand.ingest(id="d003", collection="manuals", text="again")

        await stand.status_is("d003", "accepted", later)
        await stand.status_is("shown", "deleted", deleted)

        async def swept() -> bool:
            return await statuses(stand, "manuals") == {"d003": "accepted"}

        await eventually(swept, "only what came later is left")
        await stand.worked_off()
        assert await statuses(stand, "else") == {"other": "accepted"}
        assert floors[0] == ("manuals", deleted)
        gone = {"shown"} | {f"d{n:03}" for n in range(20) if n != 3}

        async def told() -> bool:
            facts = await stand.facts(DocumentDeleted, subjects.DOCUMENT_DELETED)
            return {fact.document_id for fact in facts} >= gone

        await eventually(told, "every delete is announced")
        facts = await stand.facts(DocumentDeleted, subjects.DOCUMENT_DELETED)
        assert len(facts) == len({fact.document_id for fact in facts})
        assert {fact.revision for fact in facts} == {deleted}
        assert first < deleted < later


async def test_a_message_that_intake_sees_after_the_delete_is_ordered_before_it(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: the order is that of the stream. A document whose message is delivered again after the sweep, as
    after a crash, would otherwise stay for ever.
    """
    floors: list[tuple[str, int]] = []
    async with persistence(nats_broker, tmp_path) as stand, fences(stand, floors):
        deleted = await stand.ingest(op="delete_collection", collection="manuals")
        await eventually(lambda: floors, "the delete is carried out")
        await stand.worked_off()
        late = await stand.ingest(id="late", collection="manuals", text="t")
        # The same delete, as a stream would have it where the other message comes first.
        again = await stand.ingest(op="delete_collection", collection="manuals")
        await stand.status_is("late", "deleted", again)
        assert deleted < late < again


async def test_the_delete_waits_for_the_fence_and_shows_nothing_as_deleted_before(
    nats_broker: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: deleted is gone; a document that reads as deleted while searches show it would break it."""
    monkeypatch.setattr(sweeping, "RETRY_SECONDS", 0.05)
    floors: list[tuple[str, int]] = []
    async with persistence(nats_broker, tmp_path, request_timeout_seconds=0.2) as stand:
        revision = await stand.ingest(id="d", collection="manuals", text="t")
        await stand.status_is("d", "accepted", revision)
        asked = await stand.client.subscribe(subjects.INDEX_FENCES)
        deleted = await stand.ingest(op="delete_collection", collection="manuals")
        await asked.next_msg(timeout=10)
        await asked.next_msg(timeout=10)
        assert (await stand.document("d"))["revision"] == revision
        await asked.unsubscribe()
        async with fences(stand, floors):
            await stand.status_is("d", "deleted", deleted)


async def test_a_sweep_that_was_broken_off_goes_on_at_the_next_start(
    nats_broker: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: accepted is durable. The message is acknowledged long before the last document is deleted."""
    monkeypatch.setattr(sweeping, "PAGE_DOCUMENTS", 5)
    floors: list[tuple[str, int]] = []
    async with persistence(nats_broker, tmp_path) as stand:
        await load(stand, 20, "manuals")
        deleted = await stand.ingest(op="delete_collection", collection="manuals")
        # Without a retriever it does not get further than the row of the delete.
        await stand.worked_off()
    async with persistence(nats_broker, tmp_path) as stand, fences(stand, floors):
        await stand.status_is("d000", "deleted", deleted)

        async def empty() -> bool:
            return await statuses(stand, "manuals") == {}

        await eventually(empty, "every document is deleted")


async def test_a_delete_of_a_collection_that_nobody_knows_changes_nothing(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    floors: list[tuple[str, int]] = []
    async with persistence(nats_broker, tmp_path) as stand, fences(stand, floors):
        revision = await stand.ingest(op="delete_collection", collection="nothing")
        await eventually(lambda: floors, "the fence is raised all the same")
        await stand.worked_off()
        assert floors == [("nothing", revision)]
        assert await stand.facts(DocumentDeleted, subjects.DOCUMENT_DELETED) == []
