"""What readers are told, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.reads import CollectionsQuery, DocumentListQuery, DocumentQuery, IdempotencyQuery
from services.persistence import reads
from services.persistence.cursor import write_cursor
from services.persistence.database import Database
from services.persistence.settings import PersistenceSettings
from shared.errors import NotFound, Rejected
from tests.integration.persistence_database import (
    KINDS,
    ask,
    happen,
    idempotency_row,
    indexed,
    migrated,
    remember,
    settings_of,
)
from tests.unit.persistence.histories import AT, About


@pytest.fixture(params=KINDS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PersistenceSettings]:
    with settings_of(request.param, tmp_path) as chosen:
        yield chosen


@pytest.fixture
def database(settings: PersistenceSettings) -> Iterator[Database]:
    with migrated(settings) as opened:
        yield opened


def listed(database: Database, **query: Any) -> list[str]:
    page = ask(database, reads.documents, query=DocumentListQuery(tenant="acme", **query), max_bytes=1_000_000)
    return [view.id for view in page.items]


def test_a_document_is_read_as_it_stands(database: Database) -> None:
    happen(database, *indexed("handbook-7", 3), About(5).accepted("manuals", title="T"), About(5).failed())
    view = ask(database, reads.document, query=DocumentQuery(tenant="acme", document_id="handbook-7"))
    assert (view.id, view.collection, view.title, view.status, view.revision) == (
        "handbook-7",
        "manuals",
        "T",
        "failed",
        5,
    )
    assert view.error is not None
    assert (view.error.code, view.error.message) == ("corrupt", "cannot be read")
    assert view.created_at == AT


def test_a_deleted_document_is_read_as_deleted(database: Database) -> None:
    happen(database, *indexed("handbook-7", 3), About(5).delete())
    view = ask(database, reads.document, query=DocumentQuery(tenant="acme", document_id="handbook-7"))
    assert (view.status, view.revision, view.chunks.total, view.chunks.indexed) == ("deleted", 5, 0, 0)


@pytest.mark.parametrize(
    ("tenant", "document_id"),
    [("acme", "unknown"), ("other", "handbook-7"), ("acme", "hidden"), ("acme", "handbook-7\x00")],
    ids=["unknown", "of another tenant", "not seen by intake", "with NUL"],
)
def test_a_document_that_is_not_there_is_not_found(database: Database, tenant: str, document_id: str) -> None:
    happen(database, *indexed("handbook-7", 3), About(5, "hidden").parsed(1))
    with pytest.raises(NotFound, match=r"no document|nothing is called"):
        ask(database, reads.document, query=DocumentQuery(tenant=tenant, document_id=document_id))


def test_pages_hold_every_document_of_the_tenant_once_and_in_order(database: Database) -> None:
    ids = sorted(["a", "B", "b", "ä", "z-1", "z_1", "z.1"], key=str.encode)
    for revision, document_id in enumerate(ids, start=1):
        happen(database, *indexed(document_id, revision))
    happen(database, *indexed("foreign", 90, tenant="other"), About(91, "hidden").parsed(1))
    seen: list[str] = []
    cursor = None
    for _ in range(10):
        query = DocumentListQuery(tenant="acme", limit=2, cursor=cursor)
        page = ask(database, reads.documents, query=query, max_bytes=1_000_000)
        seen += [view.id for view in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ids


def test_a_list_is_filtered_and_shows_deleted_documents_only_when_asked(database: Database) -> None:
    happen(database, *indexed("a", 1), *indexed("b", 2, "manuals"), About(3, "c").accepted("manuals"))
    happen(database, *indexed("d", 4), About(5, "d").delete())
    assert listed(database) == ["a", "b", "c"]
    assert listed(database, collection="manuals") == ["b", "c"]
    assert listed(database, collection="manuals", status="accepted") == ["c"]
    assert listed(database, status="deleted") == ["d"]
    assert listed(database, collection="none") == []


def test_titles_are_searched_as_they_are_shown_and_nothing_in_the_text_is_a_pattern(database: Database) -> None:
    titles = {"a": "Travel Handbook", "b": "100%_sure", "c": "1000 sure", "d": None, "e": r"back\slash", "f": "  "}
    for revision, (document_id, title) in enumerate(titles.items(), start=1):
        happen(database, About(revision, document_id).accepted("manuals" if title else "default", title=title))
    happen(database, About(90, "foreign", tenant="other").accepted(title="Travel"))
    assert listed(database, title="HAND") == ["a"]
    assert listed(database, title="0%_S") == ["b"]
    assert listed(database, title="%") == ["b"]
    assert listed(database, title="K\\S") == ["e"]
    assert listed(database, title="SURE", limit=1) == ["b"]
    assert listed(database, title="sure", collection="default") == []
    assert listed(database, title="D") == ["a", "d"], "what has no title is shown under its id"


def test_letters_beyond_ascii_are_found_in_capitals_too(tmp_path: Path) -> None:
    """On PostgreSQL this is the locale's part."""
    with settings_of("sqlite", tmp_path) as settings, migrated(settings) as database:
        happen(database, About(1, "a").accepted(title="Ärzte in Łódź"))
        assert listed(database, title="ärzte IN łÓDŹ") == ["a"]


def test_documents_are_looked_up_by_their_ids(database: Database) -> None:
    happen(database, *indexed("a", 1), *indexed("b", 2), *indexed("c", 3), *indexed("d", 4), About(5, "d").delete())
    happen(database, *indexed("b", 6, tenant="other"))
    assert listed(database, ids=["c", "b", "d", "never"]) == ["b", "c"]
    assert listed(database, ids=["d"], status="deleted") == ["d"]
    assert listed(database, ids=[]) == []


def test_the_newest_documents_come_first_and_stay_in_their_place(database: Database) -> None:
    ages = {"a": 1, "b": 3, "c": 3, "d": 2, "e": 5}
    for revision, (document_id, minutes) in enumerate(ages.items(), start=1):
        happen(database, About(revision, document_id, at=AT + timedelta(minutes=minutes)).accepted())
    happen(database, About(9, "a", at=AT + timedelta(minutes=9)).accepted())
    seen: list[str] = []
    query = DocumentListQuery(tenant="acme", order="newest", limit=2)
    for _ in range(3):
        page = ask(database, reads.documents, query=query, max_bytes=1_000_000)
        seen += [view.id for view in page.items]
        query = query.model_copy(update={"cursor": page.next_cursor})
    assert (seen, page.next_cursor) == (["e", "c", "b", "d", "a"], None)


@pytest.mark.parametrize("cursor", ["%%%", write_cursor("a-document")])
def test_a_cursor_of_another_order_is_rejected(database: Database, cursor: str) -> None:
    with pytest.raises(Rejected) as caught:
        listed(database, order="newest", cursor=cursor)
    assert caught.value.error_code == "invalid_cursor"


def test_a_page_ends_where_it_would_grow_too_large(database: Database) -> None:
    for number in range(5):
        happen(database, About(number + 1, f"d{number}").accepted(metadata={"text": "x" * 1_000}))
    query = DocumentListQuery(tenant="acme")
    page = ask(database, reads.documents, query=query, max_bytes=3_000)
    assert [view.id for view in page.items] == ["d0", "d1"]
    rest = ask(database, reads.documents, query=query.model_copy(update={"cursor": page.next_cursor}), max_bytes=1)
    assert [view.id for view in rest.items] == ["d2"]


def test_a_broken_cursor_is_rejected(database: Database) -> None:
    with pytest.raises(Rejected) as caught:
        listed(database, cursor="%%%")
    assert caught.value.error_code == "invalid_cursor"


def test_collections_are_counted_by_status_without_what_is_deleted_or_hidden(database: Database) -> None:
    happen(database, *indexed("a", 1), *indexed("b", 2, "manuals"), About(3, "c").accepted("manuals"))
    happen(database, *indexed("d", 4, "gone"), About(5, "d").delete(), About(6, "hidden").parsed(1))
    happen(database, About(7, "b").accepted("manuals"), About(7, "b").failed())
    found = ask(database, reads.collections, query=CollectionsQuery(tenant="acme"))
    assert [(item.name, item.documents, item.chunks, item.by_status) for item in found.items] == [
        ("default", 1, 10, {"indexed": 1}),
        ("manuals", 2, 10, {"accepted": 1, "failed": 1}),
    ]
    [one] = ask(database, reads.collections, query=CollectionsQuery(tenant="acme", name="manuals")).items
    assert one.documents == 2
    assert ask(database, reads.totals) == (3, 20)


@pytest.mark.parametrize("name", ["none", "gone", "no\x00ne"])
def test_a_collection_without_documents_is_not_found(database: Database, name: str) -> None:
    happen(database, *indexed("d", 4, "gone"), About(5, "d").delete())
    with pytest.raises(NotFound):
        ask(database, reads.collections, query=CollectionsQuery(tenant="acme", name=name))


def test_the_first_use_of_an_idempotency_key_stays(database: Database) -> None:
    remember(database, idempotency_row("k", 1), idempotency_row("k", 2), idempotency_row("k", 3, tenant="other"))
    query = IdempotencyQuery(tenant="acme", keys=["k", "unseen", "nul\x00"])
    [found] = ask(database, reads.idempotency_keys, query=query, not_before=AT).records
    assert (found.key, found.document_id, found.revision) == ("k", "d1", 1)


def test_a_key_counts_no_longer_than_it_is_kept(database: Database) -> None:
    remember(database, idempotency_row("k", 1))
    query = IdempotencyQuery(tenant="acme", keys=["k"])
    later = AT + timedelta(seconds=1)
    assert ask(database, reads.idempotency_keys, query=query, not_before=later).records == []
