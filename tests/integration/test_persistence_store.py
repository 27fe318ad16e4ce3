"""What is written, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import StatementError

from contracts.reads import IdempotencyQuery
from services.persistence import reads
from services.persistence.database import Database, database_url, open_database
from services.persistence.events import DocumentEvent
from services.persistence.models import DEAD_LETTERS, IDEMPOTENCY_KEYS
from services.persistence.recording import key_of, record
from services.persistence.settings import PersistenceSettings
from services.persistence.store import add_dead_letter, prune
from services.persistence.unit_of_work import GroupCommit
from shared.errors import Misconfigured
from tests.integration.persistence_database import (
    KINDS,
    ask,
    happen,
    idempotency_row,
    indexed,
    ledger,
    migrated,
    remember,
    settings_of,
    stored,
)
from tests.unit.persistence.histories import AT, About


@pytest.fixture(params=KINDS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PersistenceSettings]:
    with settings_of(request.param, tmp_path) as chosen:
        yield chosen


@pytest.fixture
def database(settings: PersistenceSettings) -> Iterator[Database]:
    with migrated(settings) as opened:
        yield opened


def test_a_document_is_loaded_as_it_was_stored(database: Database) -> None:
    about, later = About(3), About(5)
    metadata = {"team": "infra", "year": 2026, "ratio": 0.5, "draft": True, "tags": ["ä", "b"], "big": 2**63 - 1}
    happen(
        database,
        about.accepted("manuals", title="Handbuch ü", uri="https://x/y", metadata=metadata),
        about.parsed(3),
        about.batch(0),
        about.batch(2),
        about.failed(),
        later.parsed(2, title="Later"),
        later.batch(1),
        later.failed("late", "too late"),
    )
    document = stored(database)
    assert document.metadata == metadata
    assert (document.progress.done, document.progress.chunks_indexed) == (frozenset({0, 2}), 20)
    assert (document.status, document.title, document.uri) == ("failed", "Handbuch ü", "https://x/y")
    assert document.created_at == AT
    assert document.created_at.tzinfo is UTC
    assert document.ahead is not None
    assert (document.ahead.done, document.ahead.title, document.ahead.chunks) == (frozenset({1}), "Later", 20)
    assert document.ahead.error is not None
    assert document.ahead.error.code == "late"


def test_text_that_a_database_cannot_hold_is_stored_without_what_it_cannot(database: Database) -> None:
    happen(database, About(3).accepted(title="a\x00b\ud800", metadata={"k": "v\x00", "l": ["\x00w"]}))
    document = stored(database)
    assert document.title == "ab?"
    assert document.metadata == {"k": "v", "l": ["w"]}


def test_every_event_may_come_twice(database: Database) -> None:
    events = [*indexed("handbook-7", 3), About(5).accepted(), About(5).batch(0)]
    happen(database, *events)
    once = (stored(database), ledger(database))
    happen(database, *events)
    assert (stored(database), ledger(database)) == once


def test_the_batches_of_a_revision_go_with_it(database: Database) -> None:
    happen(database, *indexed("handbook-7", 3), About(5).batch(0), About(5).batch(1))
    assert ledger(database) == [(3, 0), (5, 0), (5, 1)]
    happen(database, About(5).accepted())
    assert ledger(database) == [(5, 0), (5, 1)]
    happen(database, About(7).delete())
    assert ledger(database) == []


async def test_replicas_that_work_on_the_same_document_lose_no_batch(
    settings: PersistenceSettings, database: Database
) -> None:
    """INVARIANT: every batch counts. Reading a document without holding it until the commit would break it."""
    batches = 40
    about = About(3)
    events: list[DocumentEvent] = [about.accepted(), about.parsed(batches)]
    events += [about.batch(number) for number in range(batches)]
    replicas = [open_database(settings) for _ in range(2)]
    writers = [
        GroupCommit(replica.writes, threads=replica.write_threads, max_batch=4, patience_seconds=10)
        for replica in replicas
    ]
    key = key_of(about.tenant, about.document_id)
    await asyncio.gather(
        *(
            writers[place % 2].run(key, partial(record, events=[event]))
            for place, event in enumerate(events + events[::-1])
        )
    )
    for writer, replica in zip(writers, replicas, strict=True):
        await writer.close()
        replica.close()
    document = stored(database)
    assert (document.status, document.progress.chunks_indexed) == ("indexed", batches * 10)


async def test_replicas_that_work_on_many_documents_in_any_order_do_not_lock_one_another_out(
    settings: PersistenceSettings, database: Database
) -> None:
    replicas = [open_database(settings) for _ in range(2)]
    writers = [GroupCommit(one.writes, threads=one.write_threads, max_batch=64, patience_seconds=0) for one in replicas]
    events = [event for number in range(30) for event in indexed(f"d{number}", number + 1)]
    jobs = [(writers[0], event) for event in events] + [(writers[1], event) for event in reversed(events)]
    await asyncio.gather(
        *(
            writer.run(key_of(event.tenant, event.document_id), partial(record, events=[event]))
            for writer, event in jobs
        )
    )
    for writer, replica in zip(writers, replicas, strict=True):
        await writer.close()
        replica.close()
    assert {stored(database, f"d{number}").status for number in range(30)} == {"indexed"}


def letter_row(sequence: int, **overrides: Any) -> dict[str, Any]:
    row = {
        "sequence": sequence,
        "consumer": "parser",
        "stream": "INGEST",
        "stream_sequence": sequence + 100,
        "subject": "rag.v1.ingest.acme",
        "tenant": "acme",
        "document_id": None,
        "revision": None,
        "reason": "because",
        "code": "corrupt",
        "field": None,
        "error": "Rejected",
        "headers": {"a": "b\x00\ud800"},
        "payload": b"\x00\xff",
        "object_name": None,
        "deliveries": 3,
        "traceparent": None,
        "created_at": AT,
    }
    return {**row, **overrides}


def test_a_dead_letter_is_stored_once_with_its_bytes_as_they_were(database: Database) -> None:
    """A DEAD stream that is made anew counts from the beginning: its letter takes the place of the former one's."""
    with database.writes.begin() as connection:
        add_dead_letter(connection, letter_row(1, reason="of the former stream"))
        add_dead_letter(connection, letter_row(1))
    with database.reads.connect() as connection:
        [row] = connection.execute(DEAD_LETTERS.select()).all()
    assert (row.payload, row.headers, row.reason) == (b"\x00\xff", {"a": "b?"}, "because")
    assert ask(database, reads.is_buried, consumer="parser", stream="INGEST", sequence=101)
    assert not ask(database, reads.is_buried, consumer="embedder", stream="INGEST", sequence=101)


def test_pruning_removes_the_oldest_a_bounded_number_at_a_time(database: Database) -> None:
    remember(database, *(idempotency_row(f"k{day}", day, AT + timedelta(days=day)) for day in range(1, 6)))
    with database.writes.begin() as connection:
        add_dead_letter(connection, letter_row(1))
        limit = AT + timedelta(days=4)
        assert prune(connection, IDEMPOTENCY_KEYS, limit, at_most=2) == 2
        assert prune(connection, IDEMPOTENCY_KEYS, limit, at_most=2) == 1
        assert prune(connection, DEAD_LETTERS, limit, at_most=2) == 1
    query = IdempotencyQuery(tenant="acme", keys=[f"k{day}" for day in range(1, 6)])
    left = ask(database, reads.idempotency_keys, query=query, not_before=AT).records
    assert {record.key for record in left} == {"k4", "k5"}


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    naive = replace(About(3).accepted(), at=datetime(2026, 1, 1))
    with pytest.raises(StatementError, match="has no time zone"):
        happen(database, naive)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("postgresql://u:p@h/n", "postgresql+psycopg"),
        ("postgres://u:p@h/n", "postgresql+psycopg"),
        ("postgresql+psycopg://u:p@h/n", "postgresql+psycopg"),
        ("sqlite:////tmp/x.db", "sqlite"),
    ],
)
def test_a_database_address_gets_the_driver_that_is_installed(url: str, kind: str) -> None:
    assert database_url(PersistenceSettings(database_url=url)).drivername == kind


@pytest.mark.parametrize("url", ["mysql://u:secret@h/n", "not an address: secret"])
def test_an_unknown_database_is_a_misconfiguration_that_does_not_tell_the_password(url: str) -> None:
    with pytest.raises(Misconfigured, match="RAG_DATABASE_URL") as caught:
        database_url(PersistenceSettings(database_url=url))
    assert "secret" not in str(caught.value)
