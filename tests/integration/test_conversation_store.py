"""Conversations, questions and feedback in the database, on SQLite and on PostgreSQL."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Connection, select

from contracts.conversations import (
    ConversationContent,
    ConversationDelete,
    ConversationListQuery,
    ConversationQuery,
    ConversationTurn,
    HistoryQuery,
    QueryLookup,
)
from contracts.facts import FeedbackGiven, QueryAnswered, QueryFailed
from contracts.queries import Citation
from services.persistence import conversations, feedback
from services.persistence.database import Database, open_database
from services.persistence.models import Base
from services.persistence.pruning import prune_conversations, prune_table
from services.persistence.read_pool import ReadPool
from services.persistence.settings import PersistenceSettings
from services.persistence.unit_of_work import GroupCommit
from shared.errors import NotFound, Rejected
from tests.integration.persistence_database import ask, migrated

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
TENANT = "acme"
# The second one must have come as far as it can while the first one is still at work.
HEAD_START_SECONDS = 0.3
Step = Callable[[Connection], object]


@pytest.fixture
def database(each_database: PersistenceSettings) -> Iterator[Database]:
    with migrated(each_database) as opened:
        yield opened


def turn(number: int, conversation_id: str = "c1", tenant: str = TENANT, **fields: Any) -> ConversationTurn:
    values: dict[str, Any] = {
        "query_id": f"q{number}",
        "version": 10,
        "question": f"Question {number}?",
        "answer": f"Answer {number}.",
        "answered": True,
        "citations": [Citation(n=1, document_id="d", chunk_id="d-0", quote="quoted")],
        "trace_id": "f" * 32,
        "asked_at": AT + timedelta(seconds=number),
        "answered_at": AT + timedelta(seconds=number, milliseconds=500),
    }
    return ConversationTurn(tenant=tenant, conversation_id=conversation_id, **{**values, **fields})


def keep(said: ConversationTurn, max_turns: int = 100) -> Step:
    return partial(conversations.keep_turn, turn=said, max_turns=max_turns)


def removal(conversation_id: str = "c1", tenant: str = TENANT) -> Step:
    request = ConversationDelete(tenant=tenant, conversation_id=conversation_id)
    return partial(conversations.delete_conversation, request=request, at=AT)


def rating(rating: str = "up", query_id: str = "q1", at: int = 0, **fields: Any) -> Step:
    fact = FeedbackGiven.model_validate({"tenant": TENANT, "query_id": query_id, "rating": rating, **fields})
    return partial(feedback.keep_feedback, fact=fact, given_at=AT + timedelta(seconds=at))


def run(database: Database, *steps: Step) -> list[object]:
    results = []
    for step in steps:
        with database.writes.begin() as connection:
            results.append(step(connection))
    return results


def content(
    database: Database, conversation_id: str = "c1", tenant: str = TENANT, **paging: Any
) -> ConversationContent:
    query = ConversationQuery(tenant=tenant, conversation_id=conversation_id, **paging)
    return ask(database, conversations.content, query=query, max_bytes=paging.pop("max_bytes", 1_000_000))


def questions(database: Database, **query: Any) -> list[str]:
    return [one.question for one in content(database, **query).turns]


def listed(database: Database, tenant: str = TENANT, **paging: Any) -> list[str]:
    page = ask(database, conversations.page, query=ConversationListQuery(tenant=tenant, **paging))
    return [item.id for item in page.items]


def everything(database: Database) -> dict[str, list[Any]]:
    with database.reads.connect() as connection:
        return {
            table.name: sorted(tuple(row) for row in connection.execute(select(table)))
            for table in Base.metadata.sorted_tables
        }


def test_a_turn_is_read_as_it_was_kept(database: Database) -> None:
    run(database, keep(turn(1, stand_alone="Question one of all?")))
    found = content(database)
    (one,) = found.turns
    assert (found.id, found.title, found.turn_count) == ("c1", "Question 1?", 1)
    assert (found.created_at, found.updated_at) == (one.asked_at, one.answered_at)
    assert one.model_dump(exclude={"rating", "comment"}) == turn(1, stand_alone="Question one of all?").model_dump(
        exclude={"tenant", "conversation_id", "version"}
    )


def test_a_turn_is_read_with_what_was_said_of_its_answer_last(database: Database) -> None:
    run(
        database,
        *(keep(turn(number, tenant=tenant)) for number in (1, 2) for tenant in (TENANT, "other")),
        rating("up", at=1, conversation_id="c1"),
        rating("down", at=2, conversation_id="c1", comment="No."),
    )
    assert [(one.rating, one.comment) for one in content(database).turns] == [("down", "No."), (None, None)]
    assert [one.rating for one in content(database, tenant="other").turns] == [None, None]


def test_turns_end_the_same_in_whatever_order_and_however_often_they_come(database: Database) -> None:
    """INVARIANT: effects happen once. A turn may come by request, from its queue, twice, late, and as two versions."""
    ends = []
    for number, order in enumerate(permutations([turn(1), turn(2), turn(3), turn(2, version=11, answer="Better.")])):
        own = [said.model_copy(update={"conversation_id": f"c{number}"}) for said in (*order, *order[::2])]
        run(database, *map(keep, own))
        found = content(database, f"c{number}")
        ends.append(found.model_dump(exclude={"id"}))
    assert all(end == ends[0] for end in ends)
    assert [one["answer"] for one in ends[0]["turns"]] == ["Answer 1.", "Better.", "Answer 3."]
    assert ends[0]["turn_count"] == 3


def test_two_turns_of_the_same_moment_have_an_order(database: Database) -> None:
    run(database, keep(turn(2, asked_at=AT)), keep(turn(1, asked_at=AT)))
    assert questions(database) == ["Question 1?", "Question 2?"]
    found = content(database, limit=1)
    assert [one.question for one in content(database, cursor=found.next_cursor).turns] == ["Question 2?"]


def test_what_was_deleted_stays_so_whatever_comes_late(database: Database) -> None:
    """INVARIANT: deleted is gone. A turn that was on its way would else bring its conversation back."""
    run(database, keep(turn(1)), rating(conversation_id="c1", comment="secret"), removal())
    assert run(database, keep(turn(1)), keep(turn(2)), rating(query_id="q2", conversation_id="c1")) == [False] * 3
    left = everything(database)
    assert {name for name, rows in left.items() if rows} == {"deleted_conversations"}
    with pytest.raises(NotFound):
        content(database)
    with pytest.raises(NotFound):
        run(database, removal())
    with pytest.raises(Rejected, match="was deleted") as caught:
        ask(
            database,
            conversations.history,
            query=HistoryQuery(tenant=TENANT, conversation_id="c1", query_id="q", turns=5),
        )
    assert caught.value.error_code == "conversation_deleted"


@pytest.mark.parametrize("first", ["turn", "delete"])
def test_a_turn_and_a_delete_at_the_same_time_leave_nothing(
    database: Database, each_database: PersistenceSettings, first: str
) -> None:
    """INVARIANT: deleted is gone: of two replicas that are at work on one conversation one waits for the other."""
    run(database, keep(turn(1)), rating(conversation_id="c1"))
    steps: dict[str, Step] = {"turn": keep(turn(2)), "delete": removal()}
    ahead, behind = steps.pop(first), *steps.values()
    other = open_database(each_database)
    try:
        with ThreadPoolExecutor(1) as replica:
            with database.writes.begin() as connection:
                ahead(connection)
                waiting = replica.submit(run, other, behind, rating(query_id="q2", conversation_id="c1"))
                time.sleep(HEAD_START_SECONDS)
            waiting.result(timeout=10)
    finally:
        other.close()
    assert {name for name, rows in everything(database).items() if rows} == {"deleted_conversations"}


def test_an_id_of_another_tenant_s_is_an_unknown_one(database: Database) -> None:
    """INVARIANT: a tenant sees only its own."""
    run(
        database,
        keep(turn(1, tenant="other")),
        partial(feedback.remember_query, fact=answered("q1", "other"), trace_id=None),
    )
    foreign = [pytest.raises(NotFound) for _ in range(3)]
    with foreign[0] as read:
        content(database)
    with foreign[1] as delete:
        run(database, removal())
    with foreign[2] as lookup:
        ask(database, feedback.asked_query, query=QueryLookup(tenant=TENANT, query_id="q1"))
    assert str(read.value) == str(delete.value) == "there is no conversation 'c1'"
    assert lookup.value.error_code == "query_not_found"
    assert listed(database) == []
    history = ask(
        database, conversations.history, query=HistoryQuery(tenant=TENANT, conversation_id="c1", query_id="q", turns=5)
    )
    assert history.turns == []
    run(database, keep(turn(2)), removal())
    assert questions(database, tenant="other") == ["Question 1?"]


def test_conversations_are_listed_by_their_last_use_a_page_at_a_time(database: Database) -> None:
    run(database, *(keep(turn(number, f"c{number}")) for number in range(5)), keep(turn(9, "c1")))
    assert listed(database) == ["c1", "c4", "c3", "c2", "c0"]
    seen, cursor = [], None
    while True:
        page = ask(database, conversations.page, query=ConversationListQuery(tenant=TENANT, limit=2, cursor=cursor))
        seen += [item.id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == listed(database)
    for wrong in ("x", "YQ", "MjAyNi0xMS0yNg"):
        with pytest.raises(Rejected, match="cursor"):
            listed(database, cursor=wrong)


def test_turns_are_paged_oldest_first_and_by_size(database: Database) -> None:
    run(database, *(keep(turn(number, answer="x" * 1_000)) for number in range(5)))
    first = content(database, limit=2)
    assert [one.query_id for one in first.turns] == ["q0", "q1"]
    assert [one.query_id for one in content(database, cursor=first.next_cursor).turns] == ["q2", "q3", "q4"]
    query = ConversationQuery(tenant=TENANT, conversation_id="c1")
    small = ask(database, conversations.content, query=query, max_bytes=2_900)
    assert (len(small.turns), small.turn_count) == (2, 5)
    assert small.next_cursor is not None


def test_the_history_is_the_end_of_the_conversation_without_the_question_itself(database: Database) -> None:
    run(database, *(keep(turn(number)) for number in range(5)), keep(turn(5, stand_alone="Five?", answer="y" * 9_000)))
    query = HistoryQuery(tenant=TENANT, conversation_id="c1", query_id="q4", turns=3)
    found = ask(database, conversations.history, query=query).turns
    assert [past.question for past in found] == ["Question 2?", "Question 3?", "Five?"]
    assert len(found[-1].answer) == conversations.MAX_PAST_CHARACTERS


def test_a_conversation_keeps_its_last_turns(database: Database) -> None:
    run(database, *(keep(turn(number), max_turns=3) for number in (2, 3, 4, 1, 5)))
    assert questions(database) == ["Question 3?", "Question 4?", "Question 5?"]
    found = content(database)
    assert (found.turn_count, found.title) == (3, "Question 1?")


def test_what_no_database_can_hold_is_left_out(database: Database) -> None:
    run(database, keep(turn(1, question="nul \x00 here", answer="lone \ud800 surrogate")))
    assert questions(database) == ["nul  here"]


@pytest.mark.parametrize("order", [(1, 2), (2, 1), (2, 1, 2)])
def test_the_last_rating_counts(database: Database, order: tuple[int, ...]) -> None:
    """INVARIANT: effects happen once: ratings may come in any order, and twice."""
    given = {1: rating("up", at=1, comment="good"), 2: rating("down", at=2, trace_id="a" * 32)}
    run(database, *(given[number] for number in order))
    (row,) = everything(database)["feedback"]
    assert row[2:] == ("down", None, "a" * 32, None, AT + timedelta(seconds=2))


def answered(query_id: str = "q1", tenant: str = TENANT, **fields: Any) -> QueryAnswered:
    return QueryAnswered(tenant=tenant, query_id=query_id, answered=True, citations=1, duration_ms=5.0, **fields)


def test_a_question_is_known_with_its_trace_also_when_it_failed(database: Database) -> None:
    failed = QueryFailed(tenant=TENANT, query_id="q2", code="c", message="m", conversation_id="c1")
    steps = [
        partial(feedback.remember_query, fact=fact, trace_id="a" * 32) for fact in (answered(), failed, answered())
    ]
    run(database, *steps)
    for query_id, conversation_id in (("q1", None), ("q2", "c1")):
        found = ask(database, feedback.asked_query, query=QueryLookup(tenant=TENANT, query_id=query_id))
        assert (found.query_id, found.trace_id, found.conversation_id) == (query_id, "a" * 32, conversation_id)
    run(database, keep(turn(1)), removal())
    with pytest.raises(NotFound):
        ask(database, feedback.asked_query, query=QueryLookup(tenant=TENANT, query_id="q2"))


async def test_what_was_kept_long_enough_goes(database: Database) -> None:
    now = datetime.now(UTC)
    old, young = now - timedelta(days=9), now
    run(
        database,
        keep(turn(1, "old", asked_at=old, answered_at=old)),
        keep(turn(2, "young", asked_at=young, answered_at=young)),
        partial(feedback.remember_query, fact=answered("old", occurred_at=old), trace_id=None),
        partial(feedback.remember_query, fact=answered("young", occurred_at=young), trace_id=None),
    )
    writer = GroupCommit(database.writes, threads=1, max_batch=8, patience_seconds=1)
    pool = ReadPool(database.reads, threads=1)
    try:
        week = timedelta(days=7).total_seconds()
        assert await prune_conversations(writer, pool, week, 10) == 1
        assert await prune_table(writer, Base.metadata.tables["queries"], week, 10) == 1
    finally:
        await writer.close()
        pool.close()
    left = everything(database)
    assert [len(left[name]) for name in ("conversations", "conversation_turns", "queries")] == [1, 1, 1]
    assert listed(database) == ["young"]
    # It was not deleted by anybody: its id may be used again.
    assert run(database, keep(turn(3, "old"))) == [True]
