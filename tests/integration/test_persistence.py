"""The way of documents through the persistence service, on a real broker and, where it matters, on each database."""

from pathlib import Path

import pytest

from contracts import subjects
from contracts.chunks import ChunksReady, ChunkText
from contracts.facts import (
    DocumentAccepted,
    DocumentDeleted,
    DocumentFailed,
    DocumentIndexed,
    DocumentSuperseded,
    QueryAnswered,
)
from tests.integration.persistence_service import TENANT, fence, persistence
from tests.running import eventually, everything_twice
from tests.servers import NatsServer

each_database = pytest.mark.usefixtures("each_database")


@each_database
async def test_a_document_comes_from_accepted_to_indexed(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        revision = await stand.ingest(id="d", collection="manuals", text="secret", title="T", metadata={"year": 2026})
        accepted = await stand.status_is("d", "accepted", revision)
        assert (accepted["collection"], accepted["title"], accepted["metadata"]) == ("manuals", "T", {"year": 2026})
        await stand.parsed("d", revision, batches=2)
        await stand.batch_indexed("d", revision, 0)
        await stand.worked_off()
        assert (await stand.status_is("d", "processing", revision))["chunks"] == {"total": 20, "indexed": 10}
        await stand.batch_indexed("d", revision, 1)
        assert (await stand.status_is("d", "indexed", revision))["chunks"] == {"total": 20, "indexed": 20}
        await stand.worked_off()
        [said] = await stand.facts(DocumentAccepted, subjects.DOCUMENT_ACCEPTED)
        assert (said.document_id, said.revision, said.tenant, said.op) == ("d", revision, TENANT, "upsert")
        [said] = await stand.facts(DocumentIndexed, subjects.DOCUMENT_INDEXED)
        assert (said.document_id, said.revision, said.chunks, said.collection) == ("d", revision, 20, "manuals")


@each_database
async def test_every_message_may_be_handled_twice(nats_broker: NatsServer, tmp_path: Path) -> None:
    """INVARIANT: effects happen once. Counting a batch per message, or publishing without a message id, would break
    it.
    """
    floors: dict[str, int] = {}
    async with persistence(nats_broker, tmp_path, everything_twice) as stand, fence(stand, floors):
        first = await stand.index_whole("d")
        second = await stand.ingest(id="d", text="new")
        await stand.parsed("d", second, batches=2)
        for batch in (0, 0, 1, 1):
            await stand.batch_indexed("d", second, batch)
        found = await stand.status_is("d", "indexed", second)
        assert found["chunks"] == {"total": 20, "indexed": 20}
        third = await stand.ingest(op="delete", id="d")
        await stand.status_is("d", "deleted", third)
        await stand.worked_off()
        accepted = await stand.facts(DocumentAccepted, subjects.DOCUMENT_ACCEPTED)
        assert [fact.revision for fact in accepted] == [first, second, third]
        indexed = await stand.facts(DocumentIndexed, subjects.DOCUMENT_INDEXED)
        assert [fact.revision for fact in indexed] == [first, second]
        assert [fact.revision for fact in await stand.facts(DocumentDeleted, subjects.DOCUMENT_DELETED)] == [third]


@each_database
async def test_facts_may_overtake_the_message_that_they_follow_from(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        revision = 1
        await stand.batch_indexed("d", revision, 0)
        await stand.parsed("d", revision, batches=1)
        await stand.worked_off()
        assert (await stand.document("d"))["kind"] == "not_found"
        assert await stand.ingest(id="d", text="t") == revision
        await stand.status_is("d", "indexed", revision)
        await stand.worked_off()
        assert len(await stand.facts(DocumentIndexed, subjects.DOCUMENT_INDEXED)) == 1


@each_database
async def test_late_batches_of_an_outdated_revision_are_each_told_to_leave_the_index(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        first = await stand.ingest(id="d", text="old")
        await stand.status_is("d", "accepted", first)
        second = await stand.index_whole("d")
        for batch in (0, 1):
            await stand.batch_indexed("d", first, batch)
        await stand.worked_off()
        told = await stand.facts(DocumentSuperseded, subjects.DOCUMENT_SUPERSEDED)
        assert [(fact.revision, fact.current_revision) for fact in told] == [(first, second)] * 2


@each_database
async def test_a_document_is_deleted_only_after_the_index_hides_it(nats_broker: NatsServer, tmp_path: Path) -> None:
    """INVARIANT: deleted is gone. Reporting it before the fence stands would let a search still show the text."""
    floors: dict[str, int] = {}
    async with persistence(nats_broker, tmp_path) as stand:
        first = await stand.index_whole("d", title="secret", metadata={"team": "infra"})
        second = await stand.ingest(op="delete", id="d")
        await eventually(lambda: stand.backlog("INGEST", "persistence-intake"), "the delete waits")
        assert (await stand.document("d"))["revision"] == first
        async with fence(stand, floors):
            found = await stand.status_is("d", "deleted", second)
        assert floors == {"d": second}
        assert "title" not in found
        assert found["metadata"] == {}
        await stand.worked_off()
        [said] = await stand.facts(DocumentDeleted, subjects.DOCUMENT_DELETED)
        assert said.revision == second


@each_database
async def test_a_deleted_document_may_come_back(nats_broker: NatsServer, tmp_path: Path) -> None:
    floors: dict[str, int] = {}
    async with persistence(nats_broker, tmp_path) as stand, fence(stand, floors):
        await stand.index_whole("d")
        await stand.status_is("d", "deleted", await stand.ingest(op="delete", id="d"))
        assert await stand.index_whole("d") > floors["d"]


@each_database
async def test_a_broken_message_with_an_id_is_visible_as_a_failed_document(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        revision = await stand.ingest(id="d", text="t", metadata={"a": {"nested": True}})
        found = await stand.status_is("d", "failed", revision)
        assert found["error"]["code"] == "invalid_message"
        assert "metadata.a" in found["error"]["message"]
        await stand.worked_off()
        [said] = await stand.facts(DocumentFailed, subjects.DOCUMENT_FAILED)
        assert (said.document_id, said.revision, said.code) == ("d", revision, "invalid_message")


@pytest.mark.parametrize("payload", [b"", b"not json", b'{"text": 1}', b"\xff\xfe"])
async def test_a_broken_message_without_an_id_is_acknowledged_and_left_to_the_parser(
    nats_broker: NatsServer, tmp_path: Path, payload: bytes
) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        await stand.ingest_bytes(payload)
        await stand.worked_off()
        assert (await stand.ask(subjects.READ_DOCUMENTS))["items"] == []
        assert (await stand.client.jetstream().stream_info("DEAD")).state.messages == 0


async def test_a_message_of_no_valid_tenant_is_left_to_the_parser(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        await stand.client.jetstream().publish("rag.v1.ingest.UPPER", b'{"id":"d","text":"t"}')
        await stand.worked_off()
        assert (await stand.client.jetstream().stream_info("DEAD")).state.messages == 0


async def test_facts_of_others_are_ignored(nats_broker: NatsServer, tmp_path: Path) -> None:
    answered = QueryAnswered(tenant=TENANT, query_id="q", answered=True, citations=0, duration_ms=1.0)
    async with persistence(nats_broker, tmp_path) as stand:
        await stand.publish(subjects.QUERY_ANSWERED, answered)
        await stand.publish("rag.v1.facts.something.new", answered)
        await stand.worked_off()
        assert (await stand.client.jetstream().stream_info("DEAD")).state.messages == 0


@each_database
async def test_an_idempotency_key_is_remembered_for_the_message_that_used_it_first(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        key = {subjects.HEADER_IDEMPOTENCY: "k"}
        first = await stand.ingest(key, id="d", text="t")
        await stand.status_is("d", "accepted", first)
        second = await stand.ingest(key, id="e", text="t")
        await stand.status_is("e", "accepted", second)
        found = await stand.ask(subjects.READ_IDEMPOTENCY, keys=["k", "unseen"])
        [record] = found["records"]
        assert (record["key"], record["document_id"], record["revision"]) == ("k", "d", first)
        assert len(record["digest"]) == 64


async def test_read_requests_are_answered_with_what_is_wrong_with_them(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        unknown = await stand.document("x")
        assert (unknown["kind"], unknown["message"]) == ("not_found", "no document 'x'")
        cursor = await stand.ask(subjects.READ_DOCUMENTS, cursor="%")
        assert (cursor["kind"], cursor["code"], cursor["field"]) == ("rejected", "invalid_cursor", "cursor")
        none = await stand.ask(subjects.READ_COLLECTIONS, name="none")
        assert (none["kind"], none["code"], none["field"]) == ("not_found", "collection_not_found", "collection")
        limit = await stand.ask(subjects.READ_DOCUMENTS, limit=501)
        assert (limit["kind"], limit["field"]) == ("rejected", "limit")


@each_database
async def test_lists_and_collections_show_what_the_tenant_has(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        for name in ("a", "b", "c"):
            await stand.index_whole(name, collection="manuals")
        first = await stand.ask(subjects.READ_DOCUMENTS, collection="manuals", limit=2)
        rest = await stand.ask(subjects.READ_DOCUMENTS, collection="manuals", cursor=first["next_cursor"])
        assert [item["id"] for item in first["items"] + rest["items"]] == ["a", "b", "c"]
        [found] = (await stand.ask(subjects.READ_COLLECTIONS))["items"]
        assert found == {"name": "manuals", "documents": 3, "chunks": 30, "by_status": {"indexed": 3}}
        assert (await stand.ask(subjects.READ_COLLECTIONS, tenant="other"))["items"] == []


@each_database
async def test_what_was_recorded_is_there_after_a_restart(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        revision = await stand.index_whole("d")
    async with persistence(nats_broker, tmp_path) as stand:
        assert (await stand.document("d"))["revision"] == revision
        health = await stand.service.health.report()
        database = health.details["database"]
        assert database == {"status": "ok", "kind": database["kind"], "documents": 1, "chunks": 10}
        assert health.ready


@each_database
async def test_a_dead_batch_fails_its_document_and_a_replay_mends_it(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        revision = await stand.ingest(id="d", text="t")
        await stand.parsed("d", revision, batches=1)
        batch = ChunksReady(
            tenant=TENANT,
            document_id="d",
            revision=revision,
            collection="default",
            batch=0,
            chunks=[ChunkText(ordinal=0, chunk_id="x", text="t")],
        )
        dead = {
            "Rag-Dead-Subject": subjects.CHUNKS_READY,
            "Rag-Dead-Stream": "CHUNKS",
            "Rag-Dead-Sequence": "1",
            "Rag-Dead-Consumer": "embedder",
            "Rag-Dead-Code": "model_gone",
            "Rag-Dead-Reason": "the model is gone",
        }
        await stand.publish(subjects.dead("embedder"), batch, **dead)
        found = await stand.status_is("d", "failed", revision)
        assert found["error"] == {"code": "model_gone", "message": "the model is gone"}
        await stand.worked_off()
        [said] = await stand.facts(DocumentFailed, subjects.DOCUMENT_FAILED)
        assert (said.revision, said.code) == (revision, "model_gone")
        await stand.batch_indexed("d", revision, 0)
        assert "error" not in await stand.status_is("d", "indexed", revision)
