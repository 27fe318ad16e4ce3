"""What is stored of the deletes of whole collections."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, case, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from contracts.facts import DocumentDeleted
from services.persistence.announcements import Announcement
from services.persistence.events import CollectionDeleted, DeleteAccepted
from services.persistence.lifecycle import apply
from services.persistence.models import COLLECTION_DELETES, DOCUMENTS
from services.persistence.store import load, save


@dataclass(frozen=True, slots=True)
class Sweep:
    """The work that a delete still has: documents after `swept_to`, none = from the first one on.

    `rewinds` counts how often it had to come back for a document that it had passed.
    """

    tenant: str
    collection: str
    revision: int
    swept_to: str | None = None
    rewinds: int = 0


def remember_delete(connection: Connection, deleted: CollectionDeleted) -> None:
    """Store a delete, unless a later one is known; an earlier one that is still worked on is part of it."""
    table, columns = COLLECTION_DELETES, COLLECTION_DELETES.c
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    later = insert.excluded.revision > columns.revision
    statement = insert.on_conflict_do_update(
        index_elements=[columns.tenant, columns.collection],
        set_={
            "revision": case((later, insert.excluded.revision), else_=columns.revision),
            "swept_to": case((later, None), else_=columns.swept_to),
        },
    )
    connection.execute(
        statement,
        {
            "tenant": deleted.tenant,
            "collection": deleted.collection,
            "revision": deleted.revision,
            "swept_revision": 0,
            "swept_to": None,
            "rewinds": 0,
        },
    )


def rewind(connection: Connection, tenant: str, collection: str, document_id: str) -> None:
    """Have the work on a delete come by a document, again if it has passed it."""
    columns = COLLECTION_DELETES.c
    # What an id begins with comes before it, and before little else.
    before = document_id[:-1]
    passed = (columns.swept_revision >= columns.revision) | (columns.swept_to > before)
    connection.execute(
        update(COLLECTION_DELETES)
        .where(columns.tenant == tenant, columns.collection == collection)
        .values(swept_revision=0, swept_to=case((passed, before), else_=columns.swept_to), rewinds=columns.rewinds + 1)
    )


def floor_of(connection: Connection, tenant: str, collection: str) -> int:
    """Return the revision below which nothing of a collection stays, 0 when it was never deleted."""
    columns = COLLECTION_DELETES.c
    found = connection.execute(
        select(columns.revision).where(columns.tenant == tenant, columns.collection == collection)
    ).scalar()
    return int(found or 0)


def unfinished(connection: Connection, limit: int) -> list[Sweep]:
    """Return deletes that still have work."""
    columns = COLLECTION_DELETES.c
    statement = (
        select(columns.tenant, columns.collection, columns.revision, columns.swept_to, columns.rewinds)
        .where(columns.swept_revision < columns.revision)
        .limit(limit)
    )
    return [Sweep(*row) for row in connection.execute(statement)]


def page_of_deletes(connection: Connection, after: tuple[str, str], limit: int) -> list[Sweep]:
    """Return the last delete of each collection after a tenant and collection, in their order."""
    columns = COLLECTION_DELETES.c
    statement = (
        select(columns.tenant, columns.collection, columns.revision, columns.swept_to, columns.rewinds)
        .where(
            (columns.tenant > after[0]) | ((columns.tenant == after[0]) & (columns.collection > after[1])),
        )
        .order_by(columns.tenant, columns.collection)
        .limit(limit)
    )
    return [Sweep(*row) for row in connection.execute(statement)]


def to_sweep(connection: Connection, sweep: Sweep, limit: int) -> list[str]:
    """Return the next documents that go, those included that are gone but may not have been announced."""
    columns = DOCUMENTS.c
    statement = (
        select(columns.document_id)
        .where(
            columns.tenant == sweep.tenant,
            columns.collection == sweep.collection,
            columns.document_id > (sweep.swept_to or ""),
            columns.status.is_not(None),
            or_(
                (columns.revision < sweep.revision) & (columns.status != "deleted"),
                (columns.revision == sweep.revision) & (columns.status == "deleted"),
                # An update that intake saw first; what the index shows from before the delete goes all the same.
                (columns.visible_revision > 0) & (columns.visible_revision < sweep.revision),
            ),
        )
        .order_by(columns.document_id)
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())


def sweep_document(connection: Connection, sweep: Sweep, document_id: str, at: datetime) -> tuple[Announcement, ...]:
    """Delete a document as of the delete of its collection; nothing when it has moved on since."""
    before = load(connection, sweep.tenant, document_id)
    if before is None or before.status is None or before.collection != sweep.collection:
        return ()
    if before.deleted and before.revision < sweep.revision:
        return ()
    event = DeleteAccepted(
        tenant=sweep.tenant, document_id=document_id, revision=sweep.revision, at=at, collection=sweep.collection
    )
    transition = apply(before, event)
    if transition.state != before:
        save(connection, before, transition.state)
    # The message that was accepted is not about this document.
    return tuple(effect for effect in transition.effects if isinstance(effect.fact, DocumentDeleted))


def save_sweep(connection: Connection, sweep: Sweep, swept: Sequence[str], *, done: bool) -> None:
    """Store how far a delete has come, unless a later one has taken its place or it has to come back."""
    columns = COLLECTION_DELETES.c
    progress = {"swept_revision": sweep.revision, "swept_to": None} if done else {"swept_to": swept[-1]}
    connection.execute(
        update(COLLECTION_DELETES)
        .where(
            columns.tenant == sweep.tenant,
            columns.collection == sweep.collection,
            columns.revision == sweep.revision,
            columns.rewinds == sweep.rewinds,
        )
        .values(**progress)
    )
