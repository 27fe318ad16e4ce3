"""Who did what, in the database. Every query that answers somebody names its tenant."""

from typing import Any, Final

from sqlalchemy import Connection, Row, delete, literal, select, tuple_

from contracts import subjects
from contracts.audit import AuditEntry, AuditFact, AuditPage, AuditQuery
from contracts.facts import SUBJECT_OF_FACT
from services.persistence.cursor import read_moment, write_moment
from services.persistence.models import AUDIT
from services.persistence.store import add_new

_ENTRY = AUDIT.c
_SAME_NAMES: Final = (
    "audit_id",
    "tenant",
    "actor",
    "method",
    "route",
    "target",
    "status",
    "reason",
    "address",
    "trace_id",
)


def keep(connection: Connection, fact: AuditFact) -> None:
    """Store what happened; what is known stays as it is."""
    row = {name: getattr(fact, name) for name in _SAME_NAMES}
    add_new(connection, AUDIT, {**row, "action": action_of(fact), "created_at": fact.occurred_at})


def action_of(fact: AuditFact) -> str:
    """Return the word for what happened: the last part of the fact's subject."""
    return SUBJECT_OF_FACT[type(fact)].removeprefix(subjects.AUDIT_PREFIX)


def page(connection: Connection, query: AuditQuery) -> AuditPage:
    """Return a page of entries, newest first."""
    statement = select(AUDIT).where(_ENTRY.tenant == query.tenant)
    for column, wanted in ((_ENTRY.action, query.action), (_ENTRY.actor, query.actor)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.since is not None:
        statement = statement.where(_ENTRY.created_at >= query.since)
    if query.until is not None:
        statement = statement.where(_ENTRY.created_at < query.until)
    if query.cursor is not None:
        moment, audit_id = read_moment(query.cursor)
        place = tuple_(literal(moment, _ENTRY.created_at.type), literal(audit_id, _ENTRY.audit_id.type))
        statement = statement.where(tuple_(_ENTRY.created_at, _ENTRY.audit_id) < place)
    order = (_ENTRY.created_at.desc(), _ENTRY.audit_id.desc())
    rows = connection.execute(statement.order_by(*order).limit(query.limit + 1)).all()
    items = [_entry_of(row) for row in rows[: query.limit]]
    more = len(rows) > len(items)
    return AuditPage(items=items, next_cursor=write_moment(items[-1].at, items[-1].id) if more else None)


def drop_beyond(connection: Connection, most: int, at_most: int) -> int:
    """Remove the oldest entries beyond so many, at most so many at a time; return how many went."""
    newest_first = _ENTRY.created_at.desc()
    beyond = select(_ENTRY.tenant, _ENTRY.audit_id).order_by(newest_first).limit(at_most).offset(most)
    return connection.execute(delete(AUDIT).where(tuple_(_ENTRY.tenant, _ENTRY.audit_id).in_(beyond))).rowcount


def _entry_of(row: Row[Any]) -> AuditEntry:
    fields = dict(row._mapping)
    return AuditEntry(id=fields.pop("audit_id"), at=fields.pop("created_at"), **fields)
