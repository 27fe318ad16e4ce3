"""Dead letters on each kind of database."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.dead_letters import DeadLetterListQuery
from services.persistence import letters
from services.persistence.database import Database
from services.persistence.dead_letter import DeadLetter
from services.persistence.store import add_dead_letter
from shared.errors import NotFound
from tests.integration.persistence_database import KINDS, ask, happen, migrated, settings_of
from tests.unit.persistence.histories import AT, About

TENANT = "acme"


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with settings_of(request.param, tmp_path) as settings, migrated(settings) as opened:
        yield opened


def letter(sequence: int, **fields: Any) -> DeadLetter:
    values = {
        "sequence": sequence,
        "consumer": "parser",
        "stream": "INGEST",
        "stream_sequence": sequence,
        "subject": "rag.v1.ingest.acme",
        "tenant": TENANT,
        "reason": "cannot be read",
        "code": "corrupt",
        "field": None,
        "error": "Rejected",
        "headers": {"a": "b"},
        "payload": b"\x00\xff",
        "object_name": None,
        "deliveries": 1,
        "traceparent": None,
        "document_id": "handbook-7",
        "revision": sequence,
        "created_at": AT + timedelta(minutes=sequence),
    }
    return DeadLetter(**{**values, **fields})


def add(database: Database, *found: DeadLetter) -> None:
    with database.writes.begin() as connection:
        for one in found:
            add_dead_letter(connection, one.row())


def listed(database: Database, **query: Any) -> list[int]:
    wanted = DeadLetterListQuery(tenant=TENANT, **query)
    return [view.seq for view in ask(database, letters.page, query=wanted, max_bytes=10_000).items]


def test_a_letter_comes_back_as_it_was_stored(database: Database) -> None:
    stored = letter(3, headers={"a": "ü"}, field="text", traceparent="t")
    add(database, stored)
    assert ask(database, letters.find, tenant=TENANT, sequence=3) == stored
    with pytest.raises(NotFound, match="no dead letter 3"):
        ask(database, letters.find, tenant="other", sequence=3)


def test_letters_are_listed_by_filter_and_by_page_in_both_orders(database: Database) -> None:
    add(database, *(letter(number) for number in range(1, 6)), letter(6, tenant="other"))
    add(database, letter(7, code="too_large", object_name="dead/parser/INGEST/7"))
    assert listed(database) == [7, 5, 4, 3, 2, 1]
    assert listed(database, since=AT + timedelta(minutes=2), until=AT + timedelta(minutes=5)) == [4, 3, 2]
    assert listed(database, code="too_large", consumer="parser") == [7]
    add(database, letter(8, document_id="handbook-8"), letter(9, document_id="handbook-8", tenant="other"))
    assert listed(database, document_id="handbook-8") == [8]
    first = ask(
        database, letters.page, query=DeadLetterListQuery(tenant=TENANT, limit=2, oldest_first=True), max_bytes=10_000
    )
    assert [view.seq for view in first.items] == [1, 2]
    assert listed(database, limit=2, oldest_first=True, cursor=first.next_cursor) == [3, 4]
    query = DeadLetterListQuery(tenant=TENANT, document_id="handbook-7", limit=2)
    sizes = ask(database, letters.page, query=query, max_bytes=10_000).items
    assert [view.size_bytes for view in sizes] == [None, 2]


def test_a_page_ends_before_it_is_too_large_to_be_sent(database: Database) -> None:
    add(database, *(letter(number, reason="x" * 900) for number in range(1, 4)))
    page = ask(database, letters.page, query=DeadLetterListQuery(tenant=TENANT), max_bytes=2_000)
    assert [view.seq for view in page.items] == [3]
    assert listed(database, cursor=page.next_cursor, limit=1) == [2]


def test_a_revision_ahead_of_its_message_is_the_latest_known_one(database: Database) -> None:
    about = About(3)
    happen(database, about.accepted(), About(9).batch(0))
    add(database, letter(3))
    known = ask(database, letters.document_of, letter=letter(3))
    assert (known.revision, known.collection) == (9, "default")
    add(database, letter(4, document_id="nothing"))
    assert ask(database, letters.document_of, letter=letter(4, document_id="nothing")).revision == 0
    with pytest.raises(NotFound):
        ask(database, letters.document_of, letter=letter(5))


def test_letters_are_removed_one_by_one_or_from_the_oldest_on(database: Database) -> None:
    add(database, *(letter(number) for number in range(1, 6)))
    with database.writes.begin() as connection:
        letters.remove(connection, letter(5, tenant="other"))
        letters.remove(connection, letter(4))
        letters.remove(connection, letter(4))
        assert letters.remove_before(connection, 4, at_most=2) == 2
    assert listed(database) == [5, 3]
