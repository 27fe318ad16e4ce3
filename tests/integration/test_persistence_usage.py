"""What counts against a quota, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
import pytest
from sqlalchemy import text

from contracts.reads import DocumentUsage, UsageQuery, UsageReply
from services.persistence.database import Database
from services.persistence.events import DocumentEvent, PointsLost
from services.persistence.usage import usage
from tests.integration.persistence_database import KINDS, ask, happen, migrated, settings_of, stored
from tests.unit.persistence.histories import AT, About

FIRST, SECOND = About(3), About(5)
INDEXED: Final = (FIRST.accepted(size_bytes=1), FIRST.parsed(1, size_bytes=100), FIRST.batch(0))
NOTHING: Final = (0, 0)


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with settings_of(request.param, tmp_path) as settings, migrated(settings) as opened:
        yield opened


def counted(database: Database, *documents: str, tenant: str = "acme") -> UsageReply:
    return ask(database, usage, query=UsageQuery(tenant=tenant, documents=list(documents)))


@pytest.mark.parametrize(
    ("events", "used", "admitted"),
    [
        pytest.param((FIRST.accepted(size_bytes=7),), (1, 7), NOTHING, id="accepted"),
        pytest.param((FIRST.parsed(1, size_bytes=7),), NOTHING, NOTHING, id="not seen by intake"),
        pytest.param(INDEXED[:2], (1, 100), (1, 100), id="processing"),
        pytest.param(INDEXED, (1, 100), (1, 100), id="indexed"),
        pytest.param((INDEXED[1], INDEXED[2], INDEXED[0]), (1, 100), (1, 100), id="indexed, told in another order"),
        pytest.param((*INDEXED, *INDEXED), (1, 100), (1, 100), id="everything came twice"),
        pytest.param((INDEXED[0], FIRST.failed()), NOTHING, NOTHING, id="failed"),
        pytest.param((*INDEXED[:2], FIRST.failed()), NOTHING, NOTHING, id="failed behind the parser"),
        pytest.param((*INDEXED, SECOND.accepted(size_bytes=300)), (1, 300), (1, 100), id="a larger update waits"),
        pytest.param((*INDEXED, SECOND.accepted(size_bytes=30)), (1, 100), (1, 100), id="a smaller update waits"),
        pytest.param(
            (*INDEXED, SECOND.accepted(size_bytes=9), SECOND.parsed(1, size_bytes=300)),
            (1, 300),
            (1, 300),
            id="a larger update is parsed",
        ),
        pytest.param(
            (*INDEXED, SECOND.accepted(size_bytes=300), SECOND.failed()), (1, 100), (1, 100), id="an update failed"
        ),
        pytest.param(
            (*INDEXED, SECOND.accepted(), SECOND.parsed(1, size_bytes=30), SECOND.batch(0)),
            (1, 30),
            (1, 30),
            id="a smaller update is indexed",
        ),
        pytest.param((*INDEXED, SECOND.delete()), NOTHING, NOTHING, id="deleted"),
        pytest.param(
            (*INDEXED, PointsLost(tenant="acme", document_id="handbook-7", revision=3, at=AT, found=0)),
            NOTHING,
            NOTHING,
            id="lost",
        ),
        pytest.param(
            (FIRST.accepted(size_bytes=7), FIRST.parsed(1), FIRST.batch(0)),
            (1, 7),
            (1, 7),
            id="an older parser did not tell the size",
        ),
    ],
)
def test_a_document_counts_while_it_is_under_way_or_shown(
    database: Database, events: tuple[DocumentEvent, ...], used: tuple[int, int], admitted: tuple[int, int]
) -> None:
    happen(database, *events)
    found = counted(database, "handbook-7", "nothing", "nul\x00")
    assert (found.used.documents, found.used.size_bytes) == used
    assert (found.admitted.documents, found.admitted.size_bytes) == admitted
    one = DocumentUsage(
        document_id="handbook-7", size_bytes=used[1], admitted_bytes=admitted[1] if admitted[0] else None
    )
    assert found.of == ([one] if used[0] else [])


def test_each_tenant_has_its_own_sums(database: Database) -> None:
    for number, tenant in enumerate(("acme", "acme", "other")):
        happen(database, About(number + 1, f"d{number}", tenant).accepted(size_bytes=10 ** (number + 1)))
    assert (counted(database).used.documents, counted(database).used.size_bytes) == (2, 110)
    foreign = counted(database, "d0", tenant="other")
    assert (foreign.used.documents, foreign.used.size_bytes, foreign.of) == (1, 1_000, [])
    assert counted(database, tenant="nobody").used.documents == 0


def test_a_replica_of_an_older_release_goes_on_beside_a_newer_one(database: Database) -> None:
    """INVARIANT: it knows neither the columns nor any new name in what is heard ahead of its message."""
    happen(database, FIRST.parsed(2, size_bytes=100))
    with database.writes.begin() as connection:
        ahead = connection.execute(text("SELECT ahead FROM documents")).scalar_one()
        known = {"revision", "batches", "chunks", "chunks_indexed", "title", "error"}
        assert set(ahead if isinstance(ahead, dict) else orjson.loads(ahead)) == known
        connection.execute(
            text(
                "INSERT INTO documents (tenant, document_id, revision, status, collection, metadata, batches, chunks,"
                " chunks_indexed, visible_revision, visible_chunks, created_at, updated_at) VALUES ('acme', 'old', 9,"
                " 'indexed', 'default', '{}', 1, 1, 1, 9, 1, '2026-11-23 12:00:00', '2026-11-23 12:00:00')"
            )
        )
    found = counted(database, "old")
    assert (found.used.documents, found.used.size_bytes) == (1, 0)
    assert stored(database, "old").visible_bytes == 0
    happen(database, INDEXED[0], FIRST.batch(0), FIRST.batch(1))
    assert counted(database).used.size_bytes == 100


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_sums_are_made_of_an_index_alone(database: Database) -> None:
    """A scan of the documents themselves reads all their titles and metadata at every look."""
    with database.reads.connect() as connection:
        statements: list[str] = []
        connection.connection.driver_connection.set_trace_callback(statements.append)  # type: ignore[union-attr]
        usage(connection, UsageQuery(tenant="acme"))
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statements[-1]}").all()
    assert ["COVERING INDEX ix_documents_usage" in str(step) for step in plan] == [True]
