"""What persistence measures, on each kind of database."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services.persistence import figures
from services.persistence.metrics import FigureGauges, StatementMetrics
from services.persistence.settings import PersistenceSettings
from tests.integration.persistence_database import ask, happen, indexed, migrated
from tests.measuring import Measured
from tests.unit.persistence.histories import AT, CHUNKS_PER_BATCH, About

STATEMENTS = "db.client.operation.duration"


def test_documents_and_chunks_are_counted_by_collection_over_all_tenants(each_database: PersistenceSettings) -> None:
    measured = Measured()
    gauges = FigureGauges(measured.meter)
    assert measured.values("rag.documents") == {}
    with migrated(each_database) as database:
        happen(database, *indexed("a", 1, "books"), *indexed("b", 2, "books", "globex"), *indexed("c", 3, "films"))
        happen(database, About(4, "d", at=AT + timedelta(seconds=5)).accepted("films"), About(5, "e").accepted("films"))
        happen(database, *indexed("gone", 6, "books"), About(7, "gone").delete("books"))
        gauges.shown = ask(database, figures.count)
    assert measured.total("rag.documents", collection="books", status="indexed") == 2
    assert measured.total("rag.documents", collection="films", status="accepted") == 2
    assert measured.total("rag.documents") == 5
    assert measured.total("rag.chunks", collection="books") == 2 * CHUNKS_PER_BATCH
    assert measured.total("rag.chunks") == 3 * CHUNKS_PER_BATCH
    assert measured.total("rag.dead_letters.kept") == 0
    assert gauges.shown.standing_still_since == AT.timestamp()


def test_an_empty_database_has_nothing_that_stands_still(each_database: PersistenceSettings) -> None:
    with migrated(each_database) as database:
        assert ask(database, figures.count) == figures.Figures({}, {}, None, 0)


def test_beyond_the_largest_collections_the_others_are_one(each_database: PersistenceSettings) -> None:
    with migrated(each_database) as database:
        happen(database, *indexed("big-1", 1, "big"), *indexed("big-2", 2, "big"))
        happen(database, *(About(10 + number, f"d{number}").accepted(f"c{number:02}") for number in range(5)))
        found = ask(database, figures.count, max_collections=2)
    assert found.documents == {
        ("big", "indexed"): 2,
        ("c00", "accepted"): 1,
        (figures.OTHER_COLLECTIONS, "accepted"): 4,
    }


def test_statements_are_timed_by_their_first_word_and_failures_by_their_kind(
    each_database: PersistenceSettings,
) -> None:
    measured = Measured()
    metrics = StatementMetrics(measured.meter)
    with migrated(each_database) as database:
        metrics.watch(database.writes)
        metrics.watch(database.reads)
        happen(database, *indexed("a", 1))
        with database.writes.begin() as connection:
            connection.execute(text("SAVEPOINT unit"))
        with database.reads.connect() as connection, pytest.raises(DBAPIError) as raised:
            connection.execute(text("SELECT secret FROM documents"))
        system = database.writes.dialect.name
    labels = {"db_system_name": system, "db_operation_name": "SELECT"}
    error = type(raised.value.orig).__name__
    assert measured.total(STATEMENTS, **labels, error_type=error) == 1
    assert measured.total(STATEMENTS, **labels) > 1
    assert measured.total(STATEMENTS, db_operation_name="INSERT") >= 1
    words = {dict(series)["db.operation.name"] for series in measured.values(STATEMENTS)}
    assert words <= {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}
