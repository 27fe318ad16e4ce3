"""Spans of SQL: what each statement was about and how long it took, and nothing of what was in it."""

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Tracer
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from services.persistence.statement_spans import described, trace_statements
from services.persistence.unit_of_work import GroupCommit
from shared.telemetry import span

SECRET = "a-value-of-a-tenant"


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exported: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    return provider.get_tracer("test")


@pytest.fixture
def engine(tracer: Tracer) -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (body TEXT)"))
    trace_statements(engine, tracer)
    yield engine
    engine.dispose()


def write(connection: Connection, body: str = SECRET) -> None:
    connection.execute(text("INSERT INTO notes (body) VALUES (:body)"), {"body": body})


def named(exported: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [each for each in exported.get_finished_spans() if each.name == name]


def test_a_statement_leaves_a_span_without_its_text_and_values(
    engine: Engine, tracer: Tracer, exported: InMemorySpanExporter
) -> None:
    with span(tracer, "around", tenant="acme"), engine.begin() as connection:
        write(connection)
        connection.execute(text(f"SELECT body FROM notes WHERE body = '{SECRET}'")).all()
    [around] = named(exported, "around")
    statements = named(exported, "INSERT notes") + named(exported, "SELECT notes")
    assert len(statements) == 2
    for each in statements:
        assert each.kind is SpanKind.CLIENT
        assert each.parent is not None
        assert each.parent.span_id == around.context.span_id
        assert each.attributes is not None
        assert each.attributes["db.system.name"] == "sqlite"
        assert each.attributes["rag.tenant"] == "acme"
        assert SECRET not in each.to_json()


def test_a_statement_that_fails_says_so_without_the_words_of_the_database(
    engine: Engine, tracer: Tracer, exported: InMemorySpanExporter
) -> None:
    with span(tracer, "around"), engine.connect() as connection, pytest.raises(OperationalError):
        connection.execute(text(f"SELECT '{SECRET}' FROM nothing"))
    [failed] = named(exported, "SELECT nothing")
    assert not failed.status.is_ok
    assert SECRET not in failed.to_json()


def test_a_statement_of_nobody_leaves_no_span(engine: Engine, exported: InMemorySpanExporter) -> None:
    with engine.begin() as connection:
        write(connection)
    assert exported.get_finished_spans() == ()


async def test_a_commit_is_part_of_one_trace_and_links_the_others_of_its_tenant(
    engine: Engine, tracer: Tracer, exported: InMemorySpanExporter
) -> None:
    held, holding = asyncio.Event(), asyncio.Event()
    writer = GroupCommit(engine, threads=1, max_batch=8, patience_seconds=0, tracer=tracer)
    loop = asyncio.get_running_loop()

    def hold(connection: Connection) -> None:
        # The units that come meanwhile share the next transaction.
        loop.call_soon_threadsafe(holding.set)
        asyncio.run_coroutine_threadsafe(held.wait(), loop).result(timeout=10)

    async def unit(tenant: str) -> None:
        with span(tracer, f"of {tenant}", tenant=tenant):
            await writer.run("key", write)

    first = asyncio.create_task(writer.run("key", hold))
    await holding.wait()
    others = [asyncio.create_task(unit(tenant)) for tenant in ("acme", "acme", "globex")]
    # Each task runs up to its place in the queue before the next thing that is due.
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(first, *others)
    await writer.close()
    [commit] = named(exported, "COMMIT")
    parent, linked = [each.context for each in named(exported, "of acme")]
    [foreign] = [each.context for each in named(exported, "of globex")]
    assert commit.parent is not None
    assert {commit.parent.span_id, *(link.context.span_id for link in commit.links)} == {parent.span_id, linked.span_id}
    assert foreign.trace_id not in {commit.context.trace_id, *(link.context.trace_id for link in commit.links)}
    inserts = {each.context.trace_id for each in named(exported, "INSERT notes")}
    assert inserts == {parent.trace_id, linked.trace_id, foreign.trace_id}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ('INSERT INTO "notes" (a) VALUES (1)', ("INSERT", "notes")),
        ("UPDATE notes SET a = 1", ("UPDATE", "notes")),
        ("\n select a\nfrom notes n", ("SELECT", "notes")),
        ("SELECT 1", ("SELECT", "")),
        ("", ("", "")),
    ],
)
def test_a_statement_is_known_by_its_first_word_and_table(statement: str, expected: tuple[str, str]) -> None:
    assert described(statement) == expected
