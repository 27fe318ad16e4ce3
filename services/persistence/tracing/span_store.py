"""Spans in the database: added, and removed again when there are too many of them or they are too old."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Insert, Row, delete, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from services.persistence.tracing.models import SPANS, TRACES
from services.persistence.tracing.span import KeptSpan, TraceKey, TraceRecord, merge

# Writers of several replicas would overwrite each other's sums; any number that nobody else locks in this database.
WRITE_LOCK: Final = 7_261_002
# A full store is emptied a little further, so that not every batch finds it full again.
_LEFT_FULL: Final = 0.95
_ROUNDS: Final = 50
_AT_ONCE: Final = 200
_TRACE: Final = TRACES.c
_FIELDS: Final = tuple(field.name for field in fields(TraceRecord))


@dataclass(frozen=True, slots=True)
class Group:
    """The spans of one tenant that came with documents (`bulk`), or those that did not."""

    tenant: str
    bulk: bool
    spans: int


def add(connection: Connection, spans: Sequence[KeptSpan], received_ns: int, max_of_trace: int) -> int:
    """Store spans and return how many; a trace takes `max_of_trace`, what comes twice is stored once."""
    _lock(connection)
    known = _records(connection, {span.trace_id for span in spans})
    changed, kept = merge(known, spans, received_ns, max_of_trace)
    if changed:
        connection.execute(_upsert_trace(connection.dialect.name), [asdict(record) for record in changed.values()])
    if kept:
        connection.execute(_insert_span(connection.dialect.name), [_row(span) for span in kept])
    return len(kept)


def groups(connection: Connection) -> list[Group]:
    """Return how much of the store belongs to whom, the most first."""
    total = func.sum(_TRACE.spans)
    rows = connection.execute(select(_TRACE.tenant, _TRACE.bulk, total).group_by(_TRACE.tenant, _TRACE.bulk))
    return sorted((Group(tenant, bool(bulk), int(spans)) for tenant, bulk, spans in rows), key=lambda g: -g.spans)


def shrink(connection: Connection, max_spans: int) -> int:
    """Bring the store under its bound; return how many spans went.

    Whoever has most of it gives first, and then the oldest: a flood of documents takes away neither the traces of
    questions nor those of another tenant.
    """
    _lock(connection)
    removed = 0
    for _ in range(_ROUNDS):
        found = groups(connection)
        total = sum(group.spans for group in found)
        if not found or total <= (max_spans * _LEFT_FULL if removed else max_spans):
            break
        largest, next_spans = found[0], found[1].spans if len(found) > 1 else 0
        too_many = total - int(max_spans * _LEFT_FULL)
        removed += _remove_oldest(connection, largest, min(too_many, max(largest.spans - next_spans, _AT_ONCE)))
    return removed


def remove_before(connection: Connection, before_ns: int) -> int:
    """Remove traces that ended before a moment, a bounded number; return how many spans went."""
    _lock(connection)
    old = select(_TRACE.trace_id, _TRACE.tenant, _TRACE.spans).where(
        _TRACE.start_ns < before_ns, _TRACE.end_ns < before_ns
    )
    return _remove(connection, connection.execute(old.order_by(_TRACE.start_ns).limit(_AT_ONCE * 5)).all())


def _remove_oldest(connection: Connection, group: Group, spans: int) -> int:
    of_group = (_TRACE.tenant == group.tenant) & (_TRACE.bulk == group.bulk)
    oldest = select(_TRACE.trace_id, _TRACE.tenant, _TRACE.spans).where(of_group).order_by(_TRACE.start_ns)
    chosen: list[Any] = []
    freed = 0
    for row in connection.execute(oldest.limit(_AT_ONCE * 5)).all():
        if freed >= spans:
            break
        chosen.append(row)
        freed += row.spans
    return _remove(connection, chosen)


def _remove(connection: Connection, rows: Sequence[Any]) -> int:
    for start in range(0, len(rows), _AT_ONCE):
        keys: list[TraceKey] = [(row.trace_id, row.tenant) for row in rows[start : start + _AT_ONCE]]
        for table in (SPANS, TRACES):
            connection.execute(delete(table).where(tuple_(table.c.trace_id, table.c.tenant).in_(keys)))
    return sum(row.spans for row in rows)


def _records(connection: Connection, trace_ids: Iterable[str]) -> dict[TraceKey, TraceRecord]:
    wanted = list(trace_ids)
    found: dict[TraceKey, TraceRecord] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = select(TRACES).where(_TRACE.trace_id.in_(wanted[start : start + _AT_ONCE]))
        for row in connection.execute(some):
            record = record_of(row)
            found[record.trace_id, record.tenant] = record
    return found


def record_of(row: Row[Any]) -> TraceRecord:
    """Return a row as what it means."""
    return TraceRecord(**{name: getattr(row, name) for name in _FIELDS})


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")


def _row(span: KeptSpan) -> dict[str, Any]:
    return {
        "trace_id": span.trace_id,
        "tenant": span.tenant,
        "span_id": span.span_id,
        "start_ns": span.start_ns,
        "body": span.body,
    }


@cache
def _insert_span(dialect: str) -> Insert:
    if dialect == "postgresql":
        return postgresql.insert(SPANS).on_conflict_do_nothing()
    return sqlite.insert(SPANS).on_conflict_do_nothing()


@cache
def _upsert_trace(dialect: str) -> Insert:
    statement = postgresql.insert(TRACES) if dialect == "postgresql" else sqlite.insert(TRACES)
    new = {name: statement.excluded[name] for name in _FIELDS if name not in ("trace_id", "tenant")}
    return statement.on_conflict_do_update(index_elements=[_TRACE.trace_id, _TRACE.tenant], set_=new)
