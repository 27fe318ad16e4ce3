"""API keys in the database: made, listed, revoked, and their changes in order.

Each change takes the next version under one lock, so that who has seen a version has seen all before it.
"""

import uuid
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, delete, func, insert, literal, select, tuple_, update

from contracts.audit import AuditFact, KeyCreated, KeyRevoked
from contracts.keys import MAX_KEYS_TOLD, KeyChanges, KeyCheck, KeyCreate, KeyListQuery, KeyPage, KeyRevoke, KeyView
from services.persistence.audit_log import keep
from services.persistence.cursor import read_moment, write_moment
from services.persistence.models import API_KEYS
from shared.errors import Conflict, NotFound, Rejected

WRITING_KEYS: Final = "api keys"
# Any number will do, as long as no other program takes the same lock in this database.
_VERSION_LOCK: Final = 7_261_002
_KEY = API_KEYS.c


def create(
    connection: Connection, request: KeyCreate, at: datetime, trace_id: str | None = None
) -> tuple[KeyView, list[AuditFact]]:
    """Store a key, and that it was made; Conflict when its id is taken, Rejected for one that has expired already."""
    if request.expires_at is not None and request.expires_at <= at:
        raise Rejected("a key that has expired opens nothing; give a time to come", code="expired", field="expires_at")
    version = _next_version(connection)
    if connection.execute(select(_KEY.key_id).where(_KEY.key_id == request.id)).first() is not None:
        raise Conflict(f"there is a key {request.id!r} already; make another", field="id")
    row = {
        **request.model_dump(include={"prefix", "tenant", "name", "scopes", "digest", "expires_at"}),
        "key_id": request.id,
        "version": version,
        "created_at": at,
        "created_by": request.actor,
    }
    connection.execute(insert(API_KEYS), row)
    target = {"key": request.id, "tenant": request.tenant, "scopes": " ".join(request.scopes)}
    about = {"target": target, "occurred_at": at, "trace_id": trace_id}
    facts = _keep_facts(connection, KeyCreated, request, request.tenant, about)
    return view_of(_read(connection, request.id)), facts


def revoke(
    connection: Connection, request: KeyRevoke, at: datetime, trace_id: str | None = None
) -> tuple[KeyView, list[AuditFact]]:
    """Have a key refused, and store that it was; a second time changes nothing. NotFound where there is none."""
    version = _next_version(connection)
    found = connection.execute(_of(request)).first()
    if found is None:
        raise NotFound(f"there is no key {request.id!r}", code="key_not_found", field="id")
    if found.revoked_at is not None:
        return view_of(found), []
    connection.execute(update(API_KEYS).where(_KEY.key_id == request.id).values(revoked_at=at, version=version))
    about = {"target": {"key": request.id}, "occurred_at": at, "trace_id": trace_id}
    facts = _keep_facts(connection, KeyRevoked, request, found.tenant, about)
    return view_of(_read(connection, request.id)), facts


def page(connection: Connection, query: KeyListQuery) -> KeyPage:
    """Return a page of keys, newest first."""
    statement = select(API_KEYS)
    if query.tenant is not None:
        statement = statement.where(_KEY.tenant == query.tenant)
    if query.cursor is not None:
        moment, key_id = read_moment(query.cursor)
        place = tuple_(literal(moment, _KEY.created_at.type), literal(key_id, _KEY.key_id.type))
        statement = statement.where(tuple_(_KEY.created_at, _KEY.key_id) < place)
    order = (_KEY.created_at.desc(), _KEY.key_id.desc())
    rows = connection.execute(statement.order_by(*order).limit(query.limit + 1)).all()
    items = [view_of(row) for row in rows[: query.limit]]
    more = len(rows) > len(items)
    return KeyPage(items=items, next_cursor=write_moment(items[-1].created_at, items[-1].id) if more else None)


def changes(connection: Connection, after: int) -> KeyChanges:
    """Return what changed behind a version, the earliest first."""
    statement = select(API_KEYS).where(_KEY.version > after).order_by(_KEY.version).limit(MAX_KEYS_TOLD + 1)
    rows = connection.execute(statement).all()
    keys = [_check_of(row) for row in rows[:MAX_KEYS_TOLD]]
    return KeyChanges(keys=keys, more=len(rows) > MAX_KEYS_TOLD, version=last_version(connection))


def last_version(connection: Connection) -> int:
    """Return the version of the last change, 0 before the first."""
    found: int | None = connection.execute(select(func.max(_KEY.version))).scalar_one()
    return found or 0


def forget_dead(connection: Connection, before: datetime, at_most: int) -> int:
    """Remove keys that were revoked or expired before a moment; return how many went.

    The last change stays: the next one must get a higher version.
    """
    dead = (_KEY.revoked_at < before) | (_KEY.expires_at < before)
    old = select(_KEY.key_id).where(dead, _KEY.version < last_version(connection)).order_by(_KEY.version).limit(at_most)
    return connection.execute(delete(API_KEYS).where(_KEY.key_id.in_(old))).rowcount


def view_of(row: Row[Any]) -> KeyView:
    """Return a key as it is listed."""
    return KeyView.model_validate({**row._mapping, "id": row.key_id})


def _check_of(row: Row[Any]) -> KeyCheck:
    return KeyCheck.model_validate({**row._mapping, "id": row.key_id})


def _next_version(connection: Connection) -> int:
    if connection.dialect.name == "postgresql":
        # SQLite's one writer has the whole database already.
        connection.execute(select(func.pg_advisory_xact_lock(_VERSION_LOCK)))
    return last_version(connection) + 1


def _read(connection: Connection, key_id: str) -> Row[Any]:
    return connection.execute(select(API_KEYS).where(_KEY.key_id == key_id)).one()


def _of(request: KeyRevoke) -> Select[Any]:
    statement = select(API_KEYS).where(_KEY.key_id == request.id)
    return statement if request.tenant is None else statement.where(_KEY.tenant == request.tenant)


def _keep_facts(
    connection: Connection,
    kind: type[KeyCreated] | type[KeyRevoked],
    request: KeyCreate | KeyRevoke,
    tenant: str,
    about: dict[str, Any],
) -> list[AuditFact]:
    """Store it for the tenant of the key, and for that of who did it where that is another one."""
    audit_id, facts = uuid.uuid4().hex, list[AuditFact]()
    for of in sorted({tenant, request.actor_tenant or tenant}):
        facts.append(kind(audit_id=audit_id, tenant=of, actor=request.actor, **about))
        keep(connection, facts[-1])
    return facts
