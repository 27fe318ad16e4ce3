"""Questions that were asked, and what was thought of their answers. Every query names its tenant."""

from datetime import datetime
from functools import cache

from sqlalchemy import Connection, Insert, select
from sqlalchemy.dialects import postgresql, sqlite

from contracts.conversations import AskedQuery, QueryLookup
from contracts.facts import FeedbackGiven, QueryAnswered, QueryFailed
from services.persistence.conversations import is_deleted, lock_conversation
from services.persistence.models import FEEDBACK, QUERIES
from services.persistence.store import add_new
from shared.errors import NotFound

_QUERY = QUERIES.c


def remember_query(connection: Connection, fact: QueryAnswered | QueryFailed, trace_id: str | None) -> None:
    """Store that a question was asked; one that is known stays as it is."""
    row = {
        "tenant": fact.tenant,
        "query_id": fact.query_id,
        "trace_id": trace_id,
        "conversation_id": fact.conversation_id,
        "created_at": fact.occurred_at,
    }
    add_new(connection, QUERIES, row)


def asked_query(connection: Connection, query: QueryLookup) -> AskedQuery:
    """Return what is known of a question; NotFound (`query_not_found`) when the tenant has asked none of this id.

    One of a conversation that was deleted is gone with it.
    """
    row = connection.execute(
        select(_QUERY.query_id, _QUERY.trace_id, _QUERY.conversation_id).where(
            _QUERY.tenant == query.tenant, _QUERY.query_id == query.query_id
        )
    ).first()
    if row is None or (row.conversation_id and is_deleted(connection, query.tenant, row.conversation_id)):
        raise NotFound(f"there is no query {query.query_id!r}", code="query_not_found", field="query_id")
    return AskedQuery.model_validate(dict(row._mapping))


def keep_feedback(connection: Connection, fact: FeedbackGiven, given_at: datetime) -> bool:
    """Store a rating in the place of an earlier one; false for one about a conversation that was deleted."""
    if fact.conversation_id is not None:
        lock_conversation(connection, fact.tenant, fact.conversation_id)
        if is_deleted(connection, fact.tenant, fact.conversation_id):
            return False
    row = {
        "tenant": fact.tenant,
        "query_id": fact.query_id,
        "rating": fact.rating,
        "comment": fact.comment,
        "trace_id": fact.trace_id,
        "conversation_id": fact.conversation_id,
        "created_at": given_at,
    }
    connection.execute(_insert_or_replace_earlier(connection.dialect.name), row)
    return True


@cache
def _insert_or_replace_earlier(dialect: str) -> Insert:
    statement = postgresql.insert(FEEDBACK) if dialect == "postgresql" else sqlite.insert(FEEDBACK)
    new = {column.name: statement.excluded[column.name] for column in FEEDBACK.columns if not column.primary_key}
    return statement.on_conflict_do_update(
        index_elements=list(FEEDBACK.primary_key.columns),
        set_=new,
        where=FEEDBACK.c.created_at <= statement.excluded["created_at"],
    )
