"""Conversations in the database: turns kept once, read, deleted for good. Every query names its tenant.

The state is the same whichever turns come first, twice, or by which way: turns are ordered by when they were asked, of
two answers to one question the higher version stays, and after a delete nothing comes back.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)

from contracts.conversations import (
    ConversationContent,
    ConversationDelete,
    ConversationDeleted,
    ConversationListQuery,
    ConversationPage,
    ConversationQuery,
    ConversationTurn,
    ConversationView,
    HistoryQuery,
    HistoryReply,
    PastTurn,
    TurnView,
)
from services.persistence.cursor import read_moment, write_moment
from services.persistence.models import CONVERSATION_TURNS, CONVERSATIONS, DELETED_CONVERSATIONS, FEEDBACK
from shared.errors import NotFound, Rejected

MAX_TITLE_CHARACTERS: Final = 200
# What the next question may be about stands in the beginning of an answer.
MAX_PAST_CHARACTERS: Final = 2_000

_TALK = CONVERSATIONS.c
_TURN = CONVERSATION_TURNS.c
_SAID = FEEDBACK.c
_RATED_TURNS = select(CONVERSATION_TURNS, _SAID.rating, _SAID.comment).outerjoin(
    FEEDBACK, (_SAID.tenant == _TURN.tenant) & (_SAID.query_id == _TURN.query_id)
)
_LOCK = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("key"), literal_column("0"))))


def key_of_conversation(tenant: str, conversation_id: str) -> str:
    """Return what orders the units of work of one conversation."""
    return f"conversation\n{tenant}\n{conversation_id}"


def keep_turn(connection: Connection, turn: ConversationTurn, max_turns: int) -> bool:
    """Store a turn and return whether it is kept; of more than `max_turns` the oldest goes."""
    lock_conversation(connection, turn.tenant, turn.conversation_id)
    if is_deleted(connection, turn.tenant, turn.conversation_id):
        return False
    if _store_turn(connection, turn):
        _drop_oldest(connection, turn, max_turns)
        _store_conversation(connection, turn)
    return True


def delete_conversation(connection: Connection, request: ConversationDelete, at: datetime) -> ConversationDeleted:
    """Remove a conversation with its turns and the feedback to them; NotFound when the tenant has none of this id."""
    tenant, conversation_id = request.tenant, request.conversation_id
    lock_conversation(connection, tenant, conversation_id)
    if connection.execute(delete(CONVERSATIONS).where(_is(tenant, conversation_id))).rowcount == 0:
        raise no_conversation(conversation_id)
    row = {"tenant": tenant, "conversation_id": conversation_id, "created_at": at}
    connection.execute(insert(DELETED_CONVERSATIONS), row)
    removed = connection.execute(delete(CONVERSATION_TURNS).where(_of(tenant, conversation_id))).rowcount
    connection.execute(
        delete(FEEDBACK).where(FEEDBACK.c.tenant == tenant, FEEDBACK.c.conversation_id == conversation_id)
    )
    return ConversationDeleted(conversation_id=conversation_id, turn_count=removed)


def is_deleted(connection: Connection, tenant: str, conversation_id: str) -> bool:
    """Tell whether a conversation was deleted."""
    gone = DELETED_CONVERSATIONS.c
    found = connection.execute(
        select(gone.tenant).where(gone.tenant == tenant, gone.conversation_id == conversation_id)
    )
    return found.first() is not None


def history(connection: Connection, query: HistoryQuery) -> HistoryReply:
    """Return the last turns; Rejected (`conversation_deleted`) when the conversation was deleted."""
    if is_deleted(connection, query.tenant, query.conversation_id):
        raise Rejected(
            f"conversation {query.conversation_id!r} was deleted, and its id is not used again; send `new` or another",
            code="conversation_deleted",
            field="conversation_id",
        )
    question = func.coalesce(_TURN.stand_alone, _TURN.question)
    rows = connection.execute(
        select(
            func.substr(question, 1, MAX_PAST_CHARACTERS).label("question"),
            func.substr(_TURN.answer, 1, MAX_PAST_CHARACTERS).label("answer"),
            _TURN.answered,
        )
        .where(_of(query.tenant, query.conversation_id), _TURN.query_id != query.query_id)
        .order_by(_TURN.asked_at.desc(), _TURN.query_id.desc())
        .limit(query.turns)
    )
    return HistoryReply(turns=[PastTurn.model_validate(dict(row._mapping)) for row in rows][::-1])


def page(connection: Connection, query: ConversationListQuery) -> ConversationPage:
    """Return a page of conversations, the one that was used last first."""
    statement = select(CONVERSATIONS).where(_TALK.tenant == query.tenant)
    if query.cursor is not None:
        statement = statement.where(tuple_(_TALK.updated_at, _TALK.conversation_id) < _place(query.cursor))
    order = (_TALK.updated_at.desc(), _TALK.conversation_id.desc())
    # One more than asked for tells whether there is another page.
    rows = connection.execute(statement.order_by(*order).limit(query.limit + 1)).all()
    items = [_view_of(row) for row in rows[: query.limit]]
    more = len(rows) > len(items)
    return ConversationPage(items=items, next_cursor=write_moment(items[-1].updated_at, items[-1].id) if more else None)


def content(connection: Connection, query: ConversationQuery, max_bytes: int) -> ConversationContent:
    """Return a conversation with a page of turns that is not much over `max_bytes`, at least one; else NotFound."""
    found = connection.execute(select(CONVERSATIONS).where(_is(query.tenant, query.conversation_id))).first()
    if found is None:
        raise no_conversation(query.conversation_id)
    statement = _RATED_TURNS.where(_of(query.tenant, query.conversation_id))
    if query.cursor is not None:
        statement = statement.where(tuple_(_TURN.asked_at, _TURN.query_id) > _place(query.cursor))
    rows = connection.execute(statement.order_by(_TURN.asked_at, _TURN.query_id).limit(query.limit + 1)).all()
    turns = _within(max_bytes, rows[: query.limit])
    more = len(rows) > len(turns)
    cursor = write_moment(turns[-1].asked_at, turns[-1].query_id) if more else None
    return ConversationContent(**dict(_view_of(found)), turns=turns, next_cursor=cursor)


def unused_since(connection: Connection, moment: datetime, at_most: int) -> list[tuple[str, str]]:
    """Return tenant and id of conversations that nobody has used since a moment, oldest first."""
    statement = select(_TALK.tenant, _TALK.conversation_id).where(_TALK.updated_at < moment)
    rows = connection.execute(statement.order_by(_TALK.updated_at).limit(at_most))
    return [(row.tenant, row.conversation_id) for row in rows]


def forget(connection: Connection, tenant: str, conversation_id: str, unused_since: datetime) -> bool:
    """Remove a conversation unless it was used since a moment; its id may be used again."""
    lock_conversation(connection, tenant, conversation_id)
    unused = delete(CONVERSATIONS).where(_is(tenant, conversation_id), _TALK.updated_at < unused_since)
    if connection.execute(unused).rowcount == 0:
        return False
    connection.execute(delete(CONVERSATION_TURNS).where(_of(tenant, conversation_id)))
    return True


def lock_conversation(connection: Connection, tenant: str, conversation_id: str) -> None:
    """Keep other transactions from this conversation until this one ends; SQLite's one writer has all of them."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK, {"key": key_of_conversation(tenant, conversation_id)})


def no_conversation(conversation_id: str) -> NotFound:
    """Return the error of a conversation that the tenant does not have."""
    return NotFound(
        f"there is no conversation {conversation_id!r}", code="conversation_not_found", field="conversation_id"
    )


def _store_turn(connection: Connection, turn: ConversationTurn) -> bool:
    """Store a turn, unless a later version of it is there; return whether it was stored."""
    this = _of(turn.tenant, turn.conversation_id) & (_TURN.query_id == turn.query_id)
    known = connection.execute(select(_TURN.version).where(this)).first()
    row = turn.model_dump(mode="python")
    if known is None:
        connection.execute(insert(CONVERSATION_TURNS), row)
    elif known.version < turn.version:
        connection.execute(update(CONVERSATION_TURNS).where(this).values(row))
    else:
        return False
    return True


def _drop_oldest(connection: Connection, turn: ConversationTurn, max_turns: int) -> None:
    of_talk = _of(turn.tenant, turn.conversation_id)
    newest = select(_TURN.query_id).where(of_talk).order_by(_TURN.asked_at.desc(), _TURN.query_id.desc())
    connection.execute(delete(CONVERSATION_TURNS).where(of_talk, _TURN.query_id.not_in(newest.limit(max_turns))))


def _store_conversation(connection: Connection, turn: ConversationTurn) -> None:
    this = _is(turn.tenant, turn.conversation_id)
    count = connection.execute(select(func.count()).where(_of(turn.tenant, turn.conversation_id))).scalar_one()
    title = " ".join(turn.question.split())[:MAX_TITLE_CHARACTERS]
    known = connection.execute(select(CONVERSATIONS).where(this)).first()
    if known is None:
        row = {"title": title, "created_at": turn.asked_at, "updated_at": turn.answered_at, "turn_count": count}
        key = {"tenant": turn.tenant, "conversation_id": turn.conversation_id}
        connection.execute(insert(CONVERSATIONS), {**key, **row})
        return
    row = {"turn_count": count, "updated_at": max(known.updated_at, turn.answered_at)}
    if turn.asked_at < known.created_at:
        row |= {"title": title, "created_at": turn.asked_at}
    connection.execute(update(CONVERSATIONS).where(this).values(row))


def _is(tenant: str, conversation_id: str) -> ColumnElement[bool]:
    return (_TALK.tenant == tenant) & (_TALK.conversation_id == conversation_id)


def _of(tenant: str, conversation_id: str) -> ColumnElement[bool]:
    return (_TURN.tenant == tenant) & (_TURN.conversation_id == conversation_id)


def _place(cursor: str) -> Any:
    moment, identity = read_moment(cursor)
    return tuple_(bindparam(None, moment, _TALK.updated_at.type), bindparam(None, identity, _TALK.conversation_id.type))


def _view_of(row: Row[Any]) -> ConversationView:
    return ConversationView(
        id=row.conversation_id,
        title=row.title,
        turn_count=row.turn_count,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _within(max_bytes: int, rows: Iterable[Row[Any]]) -> list[TurnView]:
    turns: list[TurnView] = []
    size = 0
    for row in rows:
        turn = TurnView.model_validate(dict(row._mapping))
        size += len(turn.model_dump_json())
        if turns and size > max_bytes:
            break
        turns.append(turn)
    return turns
