"""What is stored of deletes of collections, who may do what alone, and what a comparison reads; on both databases."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.persistence.audit_reads import deleted_after, known_documents, shown_between
from services.persistence.collection_deletes import (
    Sweep,
    floor_of,
    page_of_deletes,
    remember_delete,
    rewind,
    save_sweep,
    sweep_document,
    to_sweep,
    unfinished,
)
from services.persistence.database import Database
from services.persistence.events import CollectionDeleted
from services.persistence.leases import take_lease
from tests.integration.persistence_database import KINDS, ask, happen, indexed, migrated, settings_of, stored
from tests.unit.persistence.histories import AT, About


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with settings_of(request.param, tmp_path) as settings, migrated(settings) as opened:
        yield opened


def write(database: Database, unit: Any) -> Any:
    with database.writes.begin() as connection:
        return unit(connection)


def delete(database: Database, revision: int, collection: str = "manuals", tenant: str = "acme") -> None:
    event = CollectionDeleted(tenant=tenant, collection=collection, revision=revision, at=AT)
    write(database, partial(remember_delete, deleted=event))


def test_the_later_delete_of_a_collection_stands(database: Database) -> None:
    for revision in (5, 9, 7):
        delete(database, revision)

    assert ask(database, floor_of, tenant="acme", collection="manuals") == 9
    assert ask(database, floor_of, tenant="other", collection="manuals") == 0
    assert ask(database, unfinished, limit=5) == [Sweep("acme", "manuals", 9)]


def test_a_later_delete_begins_anew_and_an_earlier_one_does_not(database: Database) -> None:
    delete(database, 5)
    first = Sweep("acme", "manuals", 5)
    write(database, partial(save_sweep, sweep=first, swept=["d1"], done=False))
    delete(database, 4)
    assert ask(database, unfinished, limit=5) == [Sweep("acme", "manuals", 5, "d1")]

    delete(database, 9)
    write(database, partial(save_sweep, sweep=first, swept=[], done=True))
    assert ask(database, unfinished, limit=5) == [Sweep("acme", "manuals", 9)]

    write(database, partial(save_sweep, sweep=Sweep("acme", "manuals", 9), swept=[], done=True))
    assert ask(database, unfinished, limit=5) == []
    delete(database, 9)
    assert ask(database, unfinished, limit=5) == []


def test_a_document_that_comes_late_has_the_sweep_come_back(database: Database) -> None:
    """INVARIANT: the order is that of the stream; what the sweep has passed already would otherwise stay."""
    delete(database, 10)
    started = Sweep("acme", "manuals", 10)
    late = partial(rewind, tenant="acme", collection="manuals", document_id="late")
    write(database, late)
    write(database, partial(save_sweep, sweep=started, swept=["z"], done=False))
    [sent_back] = ask(database, unfinished, limit=5)
    assert (sent_back.swept_to, sent_back.rewinds) == (None, 1)

    for swept, done in ((["z"], False), ([], True)):
        [sweep] = ask(database, unfinished, limit=5)
        write(database, partial(save_sweep, sweep=sweep, swept=swept, done=done))
        write(database, late)
        [sent_back] = ask(database, unfinished, limit=5)
        happen(database, About(9, "late").accepted("manuals"))
        assert ask(database, to_sweep, sweep=sent_back, limit=5) == ["late"]


def test_only_documents_that_are_in_the_collection_as_of_the_delete_go(database: Database) -> None:
    happen(database, *indexed("old", 3, "manuals"), *indexed("new", 12, "manuals"), *indexed("else", 4))
    happen(database, *indexed("moved", 5, "manuals"), About(6, "moved").accepted("else"))
    happen(database, *indexed("updated", 7, "manuals"), About(13, "updated").accepted("manuals"))
    happen(database, About(8, "gone").accepted("manuals"), About(9, "gone").delete())
    happen(database, About(2, "unseen").parsed(1), *indexed("tenant", 1, "manuals", tenant="other"))
    sweep = Sweep("acme", "manuals", 10)

    assert ask(database, to_sweep, sweep=sweep, limit=10) == ["old", "updated"]
    for name in ("old", "updated", "new", "moved", "gone", "unseen", "nobody"):
        write(database, partial(sweep_document, sweep=sweep, document_id=name, at=AT))

    assert (stored(database, "old").status, stored(database, "old").revision) == ("deleted", 10)
    updated = stored(database, "updated")
    assert (updated.status, updated.revision, updated.visible_revision) == ("accepted", 13, 0)
    assert stored(database, "new").status == "indexed"
    assert (stored(database, "moved").collection, stored(database, "moved").revision) == ("else", 6)
    assert stored(database, "gone").revision == 9


def test_a_page_that_is_done_again_announces_the_same(database: Database) -> None:
    """INVARIANT: a crash between the commit and the facts keeps none of them from being published."""
    happen(database, *indexed("old", 3, "manuals"))
    sweep = Sweep("acme", "manuals", 10)
    unit = partial(sweep_document, sweep=sweep, document_id="old", at=AT)

    first = write(database, unit)
    assert ask(database, to_sweep, sweep=sweep, limit=10) == ["old"]
    second = write(database, unit)

    assert [(each.fact.document_id, each.fact.revision) for each in first] == [("old", 10)]
    assert [type(each.fact) for each in first] == [type(each.fact) for each in second]


def test_a_lease_is_held_by_one_until_it_ends(database: Database) -> None:
    def take(holder: str, seconds_later: float) -> bool:
        now = AT + timedelta(seconds=seconds_later)
        return bool(write(database, partial(take_lease, name="work", holder=holder, now=now, seconds=10)))

    assert [take("a", 0), take("b", 5), take("a", 8), take("b", 17), take("b", 19), take("a", 20)] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]


def test_what_the_index_shows_is_read_in_the_order_of_revisions(database: Database) -> None:
    happen(database, *indexed("c", 3), *indexed("a", 5), *indexed("b", 9, tenant="other"), About(7, "d").accepted())

    first = ask(database, shown_between, after=0, upto=None, limit=2)
    rest = ask(database, shown_between, after=5, upto=9, limit=2)

    assert [(each.document_id, each.visible_revision, each.visible_chunks) for each in first] == [
        ("c", 3, 10),
        ("a", 5, 10),
    ]
    assert [each.key for each in rest] == [("other", "b")]
    assert ask(database, shown_between, after=0, upto=2, limit=2) == []


def test_documents_are_looked_up_by_tenant_and_id(database: Database) -> None:
    happen(database, *indexed("a", 3), *indexed("a", 4, tenant="other"), About(9, "b").parsed(1))

    found = ask(database, known_documents, keys={("acme", "a"), ("acme", "b"), ("other", "b")})

    assert {key: (each.revision, each.ahead) for key, each in found.items()} == {
        ("acme", "a"): (3, 0),
        ("acme", "b"): (0, 9),
    }
    assert ask(database, known_documents, keys=set()) == {}


def test_deleted_documents_and_collections_are_read_in_pages(database: Database) -> None:
    for tenant, name in (("acme", "b"), ("acme", "a"), ("other", "a")):
        happen(database, *indexed(name, 3, tenant=tenant), About(5, name, tenant).delete())
        delete(database, 6, name, tenant)

    reads: list[Callable[..., list[Any]]] = [deleted_after, page_of_deletes]
    for read in reads:
        pages: list[list[tuple[str, str]]] = []
        after = ("", "")
        while page := ask(database, read, after=after, limit=2):
            pages.append([(each.tenant, getattr(each, "document_id", "") or each.collection) for each in page])
            after = pages[-1][-1]
        assert pages == [[("acme", "a"), ("acme", "b")], [("other", "a")]]
