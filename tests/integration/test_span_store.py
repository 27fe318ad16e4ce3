"""The span store on SQLite and on PostgreSQL: its bounds, whose traces it shows, and that it outlives its process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from sqlalchemy import func, select

from contracts.traces import TraceListQuery, TracePage, TraceQuery, TraceView
from services.persistence.database import Database, open_trace_database
from services.persistence.migrating import SPAN_MIGRATIONS, migrate
from services.persistence.settings import PersistenceSettings
from services.persistence.tracing import span_store, trace_reads
from services.persistence.tracing.models import SPANS, TraceBase
from shared.errors import NotFound, Rejected
from tests.integration.persistence_database import KINDS, settings_of
from tests.unit.persistence.exported_spans import MILLISECOND, NOW, exported, kept, trace_id

MAX_OF_TRACE = 1_000
PAGE_BYTES = 512 * 1024
LONG_AGO = NOW - 60_000 * MILLISECOND


def opened(settings: PersistenceSettings) -> Database:
    database = open_trace_database(settings)
    migrate(database.writes, SPAN_MIGRATIONS, patience_seconds=0)
    return database


@pytest.fixture(params=KINDS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PersistenceSettings]:
    with settings_of(request.param, tmp_path) as chosen:
        yield chosen


@pytest.fixture
def database(settings: PersistenceSettings) -> Iterator[Database]:
    database = opened(settings)
    yield database
    database.close()


def add(database: Database, *spans: Span, service: str = "parser", received_ns: int = LONG_AGO) -> int:
    with database.writes.begin() as connection:
        return span_store.add(connection, kept(*spans, service=service), received_ns, MAX_OF_TRACE)


def view(database: Database, trace: int, tenant: str = "acme", max_bytes: int = PAGE_BYTES) -> TraceView:
    with database.reads.connect() as connection:
        return trace_reads.trace(connection, TraceQuery(tenant=tenant, trace_id=trace_id(trace)), max_bytes)


def page(database: Database, query: TraceListQuery) -> TracePage:
    with database.reads.connect() as connection:
        return trace_reads.traces(connection, query)


def listed(database: Database, query: TraceListQuery) -> list[int]:
    return [int(item.trace_id, 16) for item in page(database, query).items]


def stored_spans(database: Database) -> int:
    with database.reads.connect() as connection:
        return connection.execute(select(func.count()).select_from(SPANS)).scalar_one()


def shrink(database: Database, max_spans: int) -> int:
    with database.writes.begin() as connection:
        return span_store.shrink(connection, max_spans)


def test_the_models_are_what_the_migrations_make(database: Database) -> None:
    def is_ours(_item: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
        return kind != "table" or name in TraceBase.metadata.tables

    with database.writes.begin() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_object": is_ours}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, TraceBase.metadata) == []


def test_a_trace_is_shown_by_start_whatever_service_sent_first(database: Database) -> None:
    add(database, exported(1, 3, parent=2, at_ms=5), service="embedder")
    add(database, exported(1, 2, name="POST /v1/documents"), service="gateway")
    found = view(database, 1)
    assert [(span.service, span.parent_span_id) for span in found.spans] == [
        ("gateway", None),
        ("embedder", "0" * 15 + "2"),
    ]
    assert (found.span_count, found.complete, found.truncated) == (2, True, False)
    [item] = page(database, TraceListQuery(tenant="acme")).items
    assert (item.name, item.service, item.services, item.spans) == (
        "POST /v1/documents",
        "gateway",
        ["embedder", "gateway"],
        2,
    )


def test_a_trace_of_another_tenant_looks_exactly_like_an_unknown_one(database: Database) -> None:
    """INVARIANT: a tenant sees only its own, also of a trace that two of them share: anybody may send a traceparent."""
    add(database, exported(1, 2), exported(2, 3), exported(2, 4, tenant="other", parent=3))
    assert [span.span_id[-1] for span in view(database, 2).spans] == ["3"]
    assert [span.span_id[-1] for span in view(database, 2, "other").spans] == ["4"]
    with pytest.raises(NotFound) as foreign:
        view(database, 1, "other")
    with pytest.raises(NotFound) as unknown:
        view(database, 7, "other")
    assert foreign.value.message.replace(trace_id(1), "") == unknown.value.message.replace(trace_id(7), "")
    assert (foreign.value.error_code, unknown.value.error_code) == ("trace_not_found", "trace_not_found")
    assert listed(database, TraceListQuery(tenant="other")) == [2]


def test_a_span_that_comes_twice_is_stored_once(database: Database) -> None:
    add(database, exported(1, 2))
    add(database, exported(1, 2))
    assert len(view(database, 1).spans) == 1


def test_a_trace_is_incomplete_while_spans_come_in_or_a_parent_is_missing(database: Database) -> None:
    add(database, exported(1, 2), received_ns=NOW + 3_600_000 * MILLISECOND)
    add(database, exported(2, 2), exported(2, 3, parent=9, at_ms=1))
    add(database, exported(3, 2, parent=9), exported(3, 3, parent=2, at_ms=1))
    assert [view(database, number).complete for number in (1, 2, 3)] == [False, False, True]


def test_a_reply_is_bounded_and_says_what_is_left_out(database: Database) -> None:
    add(database, *(exported(1, number, at_ms=number, attributes={"text": "x" * 500}) for number in range(1, 101)))
    found = view(database, 1, max_bytes=10_000)
    assert 0 < len(found.spans) < 20
    assert sum(len(span.model_dump_json()) for span in found.spans) < 11_000
    assert (found.span_count, found.truncated, found.complete) == (100, True, False)
    assert [span.span_id for span in found.spans] == sorted(span.span_id for span in found.spans)


def test_spans_over_the_bound_of_a_trace_are_only_counted(database: Database) -> None:
    stored = add(database, *(exported(1, number) for number in range(1, MAX_OF_TRACE + 51)))
    stored += add(database, exported(1, 5_000))
    assert (stored, stored_spans(database), view(database, 1).dropped) == (MAX_OF_TRACE, MAX_OF_TRACE, 51)


def test_a_full_store_lets_go_of_the_oldest(database: Database) -> None:
    for number in range(1, 101):
        add(database, *(exported(number, span, at_ms=number * 100) for span in range(1, 11)))
    assert shrink(database, 1_000) == 0
    assert shrink(database, 500) >= 500
    assert 400 <= stored_spans(database) <= 500
    left = listed(database, TraceListQuery(tenant="acme", limit=500))
    assert left == list(range(100, 100 - len(left), -1))


def test_a_flood_of_documents_takes_away_neither_questions_nor_the_traces_of_others(database: Database) -> None:
    """INVARIANT: whoever fills the store loses his own oldest traces, and nobody else loses any."""
    add(database, exported(1, 1, name="POST /v1/query"), exported(2, 1, tenant="other", bulk=True))
    for number in range(10, 110):
        add(database, *(exported(number, span, at_ms=number, bulk=True) for span in range(1, 11)))
    shrink(database, 300)
    assert stored_spans(database) <= 300
    assert listed(database, TraceListQuery(tenant="acme", limit=500))[-1] == 1
    assert listed(database, TraceListQuery(tenant="other")) == [2]


def test_old_traces_go(database: Database) -> None:
    add(database, exported(1, 1, at_ms=-5_000), exported(2, 1, at_ms=-5_000), exported(2, 2, parent=1))
    with database.writes.begin() as connection:
        assert span_store.remove_before(connection, NOW - 1_000 * MILLISECOND) == 1
    assert listed(database, TraceListQuery(tenant="acme")) == [2]
    assert stored_spans(database) == 2


def test_traces_are_listed_by_page_newest_first(database: Database) -> None:
    # Two begin in the same nanosecond: a page must not end between them and begin after both.
    add(database, *(exported(number, 1, at_ms=number // 2) for number in range(1, 8)))
    found: list[int] = []
    cursor, pages = None, 0
    while True:
        part = page(database, TraceListQuery(tenant="acme", limit=2, cursor=cursor))
        found += [int(item.trace_id, 16) for item in part.items]
        cursor, pages = part.next_cursor, pages + 1
        if cursor is None:
            break
    assert (found, pages) == ([7, 6, 5, 4, 3, 2, 1], 4)


@pytest.mark.parametrize("cursor", ["x", "MTIz", "LTE6YQ"])
def test_a_cursor_that_is_none_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(Rejected, match="cursor"):
        page(database, TraceListQuery(tenant="acme", cursor=cursor))


def test_traces_are_filtered_by_service_duration_and_failure(database: Database) -> None:
    add(database, exported(1, 1, took_ms=500), service="agent")
    add(database, exported(2, 1, at_ms=1, failed=True), service="agent2")
    add(database, exported(3, 1, at_ms=2), exported(1, 2, parent=1, at_ms=700), service="re%r")
    assert listed(database, TraceListQuery(tenant="acme", service="agent")) == [1]
    assert listed(database, TraceListQuery(tenant="acme", service="re%r")) == [3, 1]
    assert listed(database, TraceListQuery(tenant="acme", service="%")) == []
    assert listed(database, TraceListQuery(tenant="acme", min_ms=600)) == [1]
    assert listed(database, TraceListQuery(tenant="acme", min_ms=1e300)) == []
    assert listed(database, TraceListQuery(tenant="acme", error=True)) == [2]
    assert listed(database, TraceListQuery(tenant="acme", error=False)) == [3, 1]


def test_a_restart_keeps_traces(settings: PersistenceSettings) -> None:
    first = opened(settings)
    add(first, exported(1, 2))
    first.close()
    second = opened(settings)
    assert view(second, 1).span_count == 1
    second.close()
