"""What is written and read, on SQLite and, where `RAG_TEST_POSTGRES_URL` names a server, on PostgreSQL."""

import asyncio
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import StatementError

from contracts.reads import CollectionsQuery, DocumentListQuery, DocumentQuery, IdempotencyQuery
from services.persistence import reads
from services.persistence.database import Database, database_url, open_database
from services.persistence.document import Document
from services.persistence.events import DocumentEvent
from services.persistence.migrating import migrate, migration_config
from services.persistence.models import DEAD_LETTERS, IDEMPOTENCY_KEYS, Base
from services.persistence.recording import key_of, record
from services.persistence.settings import PersistenceSettings
from services.persistence.store import add_dead_letter, load, prune, remember_key
from services.persistence.unit_of_work import GroupCommit
from shared.errors import Misconfigured, NotFound, Rejected
from tests.unit.persistence.histories import AT, About

T = TypeVar("T")
POSTGRES = os.environ.get("RAG_TEST_POSTGRES_URL")
KINDS = [
    "sqlite",
    pytest.param(
        "postgresql",
        marks=[
            pytest.mark.connected,
            pytest.mark.skipif(not POSTGRES, reason="RAG_TEST_POSTGRES_URL names no PostgreSQL server"),
        ],
    ),
]


@contextmanager
def empty_postgresql() -> Iterator[str]:
    """Make a database of the test's own on the server, and drop it."""
    name = f"rag_test_{uuid.uuid4().hex}"
    url = make_url(POSTGRES or "").set(drivername="postgresql+psycopg")
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


@pytest.fixture(params=KINDS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PersistenceSettings]:
    if request.param == "sqlite":
        yield PersistenceSettings(data_dir=tmp_path)
        return
    with empty_postgresql() as url:
        yield PersistenceSettings(data_dir=tmp_path, database_url=url)


@pytest.fixture
def database(settings: PersistenceSettings) -> Iterator[Database]:
    opened = open_database(settings)
    migrate(opened.writes, patience_seconds=0)
    yield opened
    opened.close()


def happen(database: Database, *events: DocumentEvent) -> None:
    for event in events:
        with database.writes.begin() as connection:
            record(connection, [event])


def stored(database: Database, document_id: str = "handbook-7", tenant: str = "acme") -> Document:
    with database.writes.begin() as connection:
        document = load(connection, tenant, document_id)
    assert document is not None
    return document


def ledger(database: Database) -> list[tuple[int, int]]:
    with database.reads.connect() as connection:
        rows = connection.execute(text("SELECT revision, batch FROM indexed_batches ORDER BY revision, batch"))
        return [(row.revision, row.batch) for row in rows]


def ask(database: Database, read: Callable[..., T], **arguments: Any) -> T:
    with database.reads.connect() as connection:
        return read(connection, **arguments)


def listed(database: Database, **query: Any) -> list[str]:
    page = ask(database, reads.documents, query=DocumentListQuery(tenant="acme", **query), max_bytes=1_000_000)
    return [view.id for view in page.items]


def indexed(document_id: str, revision: int, collection: str = "default", tenant: str = "acme") -> list[DocumentEvent]:
    about = About(revision, document_id, tenant)
    return [about.accepted(collection), about.parsed(1), about.batch(0)]


def test_the_models_are_what_the_migrations_make(database: Database) -> None:
    with database.writes.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_migration_can_be_taken_back(database: Database) -> None:
    with database.writes.begin() as connection:
        command.downgrade(migration_config(connection), "base")
    assert set(inspect(database.reads).get_table_names()) <= {"alembic_version"}


def test_replicas_that_start_at_the_same_time_migrate_once(settings: PersistenceSettings) -> None:
    replicas = [open_database(settings) for _ in range(4)]
    failures: list[BaseException] = []

    def start(replica: Database) -> None:
        try:
            migrate(replica.writes, patience_seconds=5)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start, args=(replica,)) for replica in replicas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert "documents" in inspect(replicas[0].reads).get_table_names()
    for replica in replicas:
        replica.close()


def test_a_database_of_a_newer_release_is_used_as_it_is(database: Database) -> None:
    """In a rolling upgrade a replica of the old release may restart after the new one has migrated."""
    with database.writes.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    migrate(database.writes, patience_seconds=0)
    happen(database, *indexed("d", 3))


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
    assert len(listed(database, status="indexed")) == 30


def test_a_document_is_read_as_it_stands(database: Database) -> None:
    happen(database, *indexed("handbook-7", 3), About(5).accepted("manuals", title="T"), About(5).failed())
    view = ask(database, reads.document, query=DocumentQuery(tenant="acme", document_id="handbook-7"))
    assert (view.id, view.collection, view.title, view.status, view.revision) == (
        "handbook-7",
        "manuals",
        "T",
        "failed",
        5,
    )
    assert view.error is not None
    assert (view.error.code, view.error.message) == ("corrupt", "cannot be read")
    assert view.created_at == AT


def test_a_deleted_document_is_read_as_deleted(database: Database) -> None:
    happen(database, *indexed("handbook-7", 3), About(5).delete())
    view = ask(database, reads.document, query=DocumentQuery(tenant="acme", document_id="handbook-7"))
    assert (view.status, view.revision, view.chunks.total, view.chunks.indexed) == ("deleted", 5, 0, 0)


@pytest.mark.parametrize(
    ("tenant", "document_id"),
    [("acme", "unknown"), ("other", "handbook-7"), ("acme", "hidden"), ("acme", "handbook-7\x00")],
    ids=["unknown", "of another tenant", "not seen by intake", "with NUL"],
)
def test_a_document_that_is_not_there_is_not_found(database: Database, tenant: str, document_id: str) -> None:
    happen(database, *indexed("handbook-7", 3), About(5, "hidden").parsed(1))
    with pytest.raises(NotFound, match=r"no document|nothing is called"):
        ask(database, reads.document, query=DocumentQuery(tenant=tenant, document_id=document_id))


def test_pages_hold_every_document_of_the_tenant_once_and_in_order(database: Database) -> None:
    ids = sorted(["a", "B", "b", "ä", "z-1", "z_1", "z.1"], key=str.encode)
    for revision, document_id in enumerate(ids, start=1):
        happen(database, *indexed(document_id, revision))
    happen(database, *indexed("foreign", 90, tenant="other"), About(91, "hidden").parsed(1))
    seen: list[str] = []
    cursor = None
    for _ in range(10):
        query = DocumentListQuery(tenant="acme", limit=2, cursor=cursor)
        page = ask(database, reads.documents, query=query, max_bytes=1_000_000)
        seen += [view.id for view in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ids


def test_a_list_is_filtered_and_shows_deleted_documents_only_when_asked(database: Database) -> None:
    happen(database, *indexed("a", 1), *indexed("b", 2, "manuals"), About(3, "c").accepted("manuals"))
    happen(database, *indexed("d", 4), About(5, "d").delete())
    assert listed(database) == ["a", "b", "c"]
    assert listed(database, collection="manuals") == ["b", "c"]
    assert listed(database, collection="manuals", status="accepted") == ["c"]
    assert listed(database, status="deleted") == ["d"]
    assert listed(database, collection="none") == []


def test_a_page_ends_where_it_would_grow_too_large(database: Database) -> None:
    for number in range(5):
        happen(database, About(number + 1, f"d{number}").accepted(metadata={"text": "x" * 1_000}))
    query = DocumentListQuery(tenant="acme")
    page = ask(database, reads.documents, query=query, max_bytes=3_000)
    assert [view.id for view in page.items] == ["d0", "d1"]
    rest = ask(database, reads.documents, query=query.model_copy(update={"cursor": page.next_cursor}), max_bytes=1)
    assert [view.id for view in rest.items] == ["d2"]


def test_a_broken_cursor_is_rejected(database: Database) -> None:
    with pytest.raises(Rejected) as caught:
        listed(database, cursor="%%%")
    assert caught.value.error_code == "invalid_cursor"


def test_collections_are_counted_by_status_without_what_is_deleted_or_hidden(database: Database) -> None:
    happen(database, *indexed("a", 1), *indexed("b", 2, "manuals"), About(3, "c").accepted("manuals"))
    happen(database, *indexed("d", 4, "gone"), About(5, "d").delete(), About(6, "hidden").parsed(1))
    happen(database, About(7, "b").accepted("manuals"), About(7, "b").failed())
    found = ask(database, reads.collections, query=CollectionsQuery(tenant="acme"))
    assert [(item.name, item.documents, item.chunks, item.by_status) for item in found.items] == [
        ("default", 1, 10, {"indexed": 1}),
        ("manuals", 2, 10, {"accepted": 1, "failed": 1}),
    ]
    [one] = ask(database, reads.collections, query=CollectionsQuery(tenant="acme", name="manuals")).items
    assert one.documents == 2
    assert ask(database, reads.totals) == (3, 20)


@pytest.mark.parametrize("name", ["none", "gone", "no\x00ne"])
def test_a_collection_without_documents_is_not_found(database: Database, name: str) -> None:
    happen(database, *indexed("d", 4, "gone"), About(5, "d").delete())
    with pytest.raises(NotFound):
        ask(database, reads.collections, query=CollectionsQuery(tenant="acme", name=name))


def idempotency_row(key: str, revision: int, created_at: datetime = AT, tenant: str = "acme") -> dict[str, Any]:
    return {
        "tenant": tenant,
        "key": key,
        "document_id": f"d{revision}",
        "collection": "default",
        "revision": revision,
        "digest": "0" * 64,
        "created_at": created_at,
    }


def remember(database: Database, *rows: dict[str, Any]) -> None:
    with database.writes.begin() as connection:
        for row in rows:
            remember_key(connection, row)


def test_the_first_use_of_an_idempotency_key_stays(database: Database) -> None:
    remember(database, idempotency_row("k", 1), idempotency_row("k", 2), idempotency_row("k", 3, tenant="other"))
    query = IdempotencyQuery(tenant="acme", keys=["k", "unseen", "nul\x00"])
    [found] = ask(database, reads.idempotency_keys, query=query, not_before=AT).records
    assert (found.key, found.document_id, found.revision) == ("k", "d1", 1)


def test_a_key_counts_no_longer_than_it_is_kept(database: Database) -> None:
    remember(database, idempotency_row("k", 1))
    query = IdempotencyQuery(tenant="acme", keys=["k"])
    later = AT + timedelta(seconds=1)
    assert ask(database, reads.idempotency_keys, query=query, not_before=later).records == []


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
    with database.writes.begin() as connection:
        add_dead_letter(connection, letter_row(1))
        add_dead_letter(connection, letter_row(1, reason="again"))
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
