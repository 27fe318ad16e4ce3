"""What the persistence service does when the database, the broker or another service fails."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import RowMapping

from contracts import subjects, topology
from contracts.conversations import ConversationTurn
from contracts.facts import DocumentFailed, DocumentIndexed
from contracts.messages import Fact, now
from services.persistence.database import open_database
from services.persistence.models import DEAD_LETTERS
from services.persistence.settings import PersistenceSettings
from shared.errors import Unavailable
from shared.messaging.provisioning import consumer_config
from shared.service import Service
from tests.integration.burying import PARENT
from tests.integration.persistence_service import TENANT, persistence
from tests.running import eventually, everything_twice, stored
from tests.servers import NatsServer


def crash_before_publishing(kind: type[Fact]) -> Any:
    """Let the first publish of a fact of this kind fail, as if the process had died after its commit."""
    failures: list[Fact] = []

    def prepare(service: Service) -> None:
        publish_fact = service.publisher.publish_fact

        async def fail_once(fact: Fact, **arguments: Any) -> Any:
            if isinstance(fact, kind) and not failures:
                failures.append(fact)
                raise Unavailable("crashed between commit and publish", retry_after_seconds=0.01)
            return await publish_fact(fact, **arguments)

        service.publisher.publish_fact = fail_once  # type: ignore[method-assign]

    prepare.failures = failures  # type: ignore[attr-defined]
    return prepare


@pytest.mark.usefixtures("each_database")
async def test_a_fact_that_a_crash_kept_from_being_published_is_published_by_the_repeat(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: what is committed is announced. Announcing only when the state changes would break it."""
    crash = crash_before_publishing(DocumentIndexed)
    async with persistence(nats_broker, tmp_path, crash) as stand:
        revision = await stand.index_whole("d")
        await stand.worked_off()
        assert len(crash.failures) == 1
        [said] = await stand.facts(DocumentIndexed, subjects.DOCUMENT_INDEXED)
        assert said.revision == revision


@pytest.mark.parametrize(
    "patience", [{}, {"persistence_outage_patience_seconds": 0.1}], ids=["in the service", "in the queue"]
)
async def test_messages_wait_while_the_database_is_locked_and_reads_go_on(
    nats_broker: NatsServer, tmp_path: Path, patience: dict[str, float]
) -> None:
    """INVARIANT: dependencies may go away; nothing is lost and readers are not held up."""
    outage: dict[str, Any] = {"persistence_busy_timeout_seconds": 0.05, **patience}
    async with persistence(nats_broker, tmp_path, **outage) as stand:
        await stand.index_whole("d")
        await stand.worked_off()
        other = sqlite3.connect(tmp_path / "rag.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = await stand.ingest(id="e", text="t")
        await eventually(lambda: stand.backlog("INGEST", "persistence-intake"), "the message is not acknowledged")
        assert (await stand.document("d"))["status"] == "indexed"
        await eventually(lambda: is_ready(stand.service, False), "the service says that it cannot write")
        other.execute("ROLLBACK")
        other.close()
        await stand.status_is("e", "accepted", waiting)
        assert await is_ready(stand.service, True)
        assert await stored(stand.client, "DEAD") == []


async def test_turns_wait_while_the_database_is_locked_and_who_records_one_is_told_at_once(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: accepted is durable: an answer goes out without its turn, which is recorded when that can be."""
    async with persistence(nats_broker, tmp_path, persistence_busy_timeout_seconds=0.05) as stand:
        other = sqlite3.connect(tmp_path / "rag.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        turn = ConversationTurn(
            tenant=TENANT,
            conversation_id="c1",
            query_id="q1",
            version=1,
            question="Why?",
            answer="So.",
            answered=True,
            asked_at=now(),
            answered_at=now(),
        )
        await stand.publish(subjects.CONVERSATION_TURNS, turn)
        await eventually(lambda: is_ready(stand.service, False), "the service says that it cannot write")
        refused = await stand.ask(subjects.RECORD_TURN, **turn.model_dump(mode="json", exclude={"tenant"}))
        assert (refused["kind"], refused["code"]) == ("retryable", "database_unavailable")
        other.execute("ROLLBACK")
        other.close()

        async def kept() -> bool:
            return (await stand.ask(subjects.READ_CONVERSATION, conversation_id="c1")).get("turn_count") == 1

        await eventually(kept, "the turn is recorded")
        assert await stored(stand.client, "DEAD") == []


async def is_ready(service: Service, expected: bool) -> bool:
    return (await service.health.report()).ready == expected


async def test_a_database_that_is_gone_makes_the_service_not_ready(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        assert (await stand.service.health.report()).ready
        await asyncio.to_thread(break_database, tmp_path / "rag.db")
        report = await stand.service.health.report()
        assert not report.ready
        assert report.details["database"]["status"] == "failed"
        reply = await stand.document("d")
        assert (reply["kind"], reply["code"]) == ("retryable", "database_unavailable")


def break_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE documents RENAME TO elsewhere")
    connection.close()


async def test_a_message_that_nobody_could_process_is_stored_and_fails_its_document(
    nats_broker: NatsServer, tmp_path: Path, each_database: PersistenceSettings
) -> None:
    async with persistence(nats_broker, tmp_path, everything_twice) as stand:
        payload = b'{"id": "d", "text": "\\u0000", "collection": "manuals"}'
        await publish_dead(stand.client, payload, revision=1)
        found = await stand.status_is("d", "failed", 1)
        assert (found["collection"], found["error"]) == ("manuals", {"code": "corrupt", "message": "cannot be read"})
        await stand.worked_off()
        [said] = await stand.facts(DocumentFailed, subjects.DOCUMENT_FAILED)
        assert (said.document_id, said.revision) == ("d", 1)
        [row] = letters(each_database)
        assert row["payload"] == payload
        assert (row["sequence"], row["consumer"], row["code"], row["field"]) == (1, "parser", "corrupt", "text")
        assert (row["tenant"], row["document_id"], row["revision"]) == (TENANT, "d", 1)
        assert "My-Header" in row["headers"]


async def publish_dead(client: Any, payload: bytes, revision: int) -> None:
    headers = {
        subjects.HEADER_TENANT: TENANT,
        "My-Header": "kept",
        "Rag-Dead-Subject": subjects.ingest(TENANT),
        "Rag-Dead-Stream": "INGEST",
        "Rag-Dead-Sequence": str(revision),
        "Rag-Dead-Consumer": "parser",
        "Rag-Dead-Code": "corrupt",
        "Rag-Dead-Reason": "cannot be read",
        "Rag-Dead-Field": "text",
        "Rag-Dead-Deliveries": "1",
    }
    await client.jetstream().publish(subjects.dead("parser"), payload, headers=headers)


async def test_a_dead_letter_whose_payload_lies_in_the_object_store_fails_its_document(
    nats_broker: NatsServer, tmp_path: Path, each_database: PersistenceSettings
) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        uploads = await stand.service.uploads()
        await uploads.put("dead/INGEST/1", b'{"id": "d", "text": "t"}')
        headers = {
            subjects.HEADER_TENANT: TENANT,
            "Rag-Dead-Object": "dead/INGEST/1",
            "Rag-Dead-Subject": subjects.ingest(TENANT),
            "Rag-Dead-Stream": "INGEST",
            "Rag-Dead-Sequence": "1",
            "Rag-Dead-Code": "corrupt",
        }
        for name in ("dead/INGEST/1", "dead/INGEST/2"):
            await stand.client.jetstream().publish(
                subjects.dead("parser"), b"", headers={**headers, "Rag-Dead-Object": name}
            )
        await stand.status_is("d", "failed", 1)
        await stand.worked_off()
        assert {row["object_name"] for row in letters(each_database)} == {"dead/INGEST/1", "dead/INGEST/2"}


async def test_a_dead_letter_that_could_not_be_recorded_does_not_come_back_for_ever(
    nats_broker: NatsServer, tmp_path: Path, each_database: PersistenceSettings
) -> None:
    """INVARIANT: nothing poisons the queue, the queue of the dead letters included."""
    async with persistence(nats_broker, tmp_path) as stand:
        await stand.client.jetstream().publish(subjects.dead("persistence-dead"), b"x")
        await stand.worked_off()
        assert len(await stored(stand.client, "DEAD")) == 1
        assert letters(each_database) == []


@pytest.mark.parametrize("prepare", [lambda _service: None, everything_twice], ids=["once", "twice"])
async def test_a_message_that_crashes_its_consumer_every_time_is_buried_and_removed(
    nats_broker: NatsServer, tmp_path: Path, each_database: PersistenceSettings, prepare: Any
) -> None:
    """INVARIANT: nothing poisons the queue. The broker only says that it gave up; a work queue would keep the message
    for ever.
    """
    async with persistence(nats_broker, tmp_path, prepare) as stand:
        jetstream = stand.client.jetstream()
        impatient = consumer_config(topology.PARSER)
        impatient.max_deliver, impatient.ack_wait = 2, 0.1
        await jetstream.add_consumer("INGEST", config=impatient)
        sent = {"traceparent": PARENT, "Nats-Msg-Id": "mine"}
        revision = await stand.ingest(sent, id="d", text="t", collection="manuals")
        await stand.status_is("d", "accepted", revision)
        parser = await jetstream.pull_subscribe_bind("parser", stream="INGEST")
        for _ in range(2):
            await parser.fetch(1, timeout=2)
        with pytest.raises(TimeoutError):
            await parser.fetch(1, timeout=0.5)
        found = await stand.status_is("d", "failed", revision)
        assert found["error"] == {
            "code": "max_deliveries",
            "message": "crashed or timed out its consumer 2 times",
        }
        await eventually(lambda: is_empty(stand.client, "INGEST"), "the message is gone from its stream")
        [letter] = await stored(stand.client, "DEAD")
        assert letter.subject == "rag.v1.dead.parser"
        assert letter.headers is not None
        assert (letter.headers["Rag-Tenant"], letter.headers["Rag-Dead-Sequence"]) == (TENANT, str(revision))
        await stand.worked_off()
        [row] = letters(each_database)
        assert (row["stream_sequence"], row["deliveries"], row["error"]) == (revision, 2, "MaxDeliveries")
        assert row["traceparent"] == PARENT
        assert row["headers"] == sent


async def is_empty(client: Any, stream: str) -> bool:
    return bool((await client.jetstream().stream_info(stream)).state.messages == 0)


@pytest.mark.parametrize(
    ("stream", "consumer"),
    [("INGEST", "parser"), ("DEAD", "persistence-dead"), ("ADVISORIES", "persistence-advisories"), ("X", "stranger")],
    ids=["of a message that is gone", "of a dead letter", "of an advisory", "of a stranger"],
)
async def test_an_advisory_that_there_is_nothing_to_do_about_is_acknowledged(
    nats_broker: NatsServer, tmp_path: Path, stream: str, consumer: str
) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        subject = f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{stream}.{consumer}"
        body = f'{{"stream":"{stream}","consumer":"{consumer}","stream_seq":7,"deliveries":35}}'
        await stand.client.jetstream().publish(subject, body.encode())

        async def worked_off() -> bool:
            return await stand.backlog("ADVISORIES", "persistence-advisories") == 0

        await eventually(worked_off, "the advisory is acknowledged")
        assert await stored(stand.client, "DEAD") == []


def letters(settings: PersistenceSettings) -> Sequence[RowMapping]:
    database = open_database(settings)
    with database.reads.connect() as connection:
        rows = connection.execute(DEAD_LETTERS.select()).mappings().all()
    database.close()
    return rows
