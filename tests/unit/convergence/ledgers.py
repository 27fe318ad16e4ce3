"""Where the loop keeps its documents: in memory, or in the tables of a real database."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from services.persistence.announcements import Announcement
from services.persistence.database import Database
from services.persistence.document import Document
from services.persistence.events import DeleteAccepted, DocumentEvent
from services.persistence.lifecycle import apply
from services.persistence.models import Base
from services.persistence.store import load
from tests.unit.convergence.streams import gap

T = TypeVar("T")
Unit = Callable[[Connection], T]


class Ledger(Protocol):
    """Stands where persistence has its group commit; `gone` holds the deletes that readers have been told of."""

    gone: dict[str, int]

    async def run(self, key: str, unit: Unit[T]) -> T:
        """Commit a unit of work and return what it returned; before it is a gap."""
        ...

    def document(self, tenant: str, document_id: str) -> Document | None:
        """Return what is stored of a document."""
        ...


class MemoryLedger:
    """Applies the events of a unit of work to documents in a dictionary."""

    def __init__(self) -> None:
        self.gone: dict[str, int] = {}
        self._documents: dict[tuple[str, str], Document] = {}

    async def run(self, key: str, unit: Unit[Any]) -> Any:
        await gap()
        effects: list[Announcement] = []
        for event in events_of(unit):
            document = (event.tenant, event.document_id)
            transition = apply(self._documents.get(document), event)
            self._documents[document] = transition.state
            effects += transition.effects
        note_deletes(self.gone, unit)
        return tuple(effects)

    def document(self, tenant: str, document_id: str) -> Document | None:
        return self._documents.get((tenant, document_id))


class SQLLedger:
    """Runs the units of work themselves, each in a transaction of its own, on tables that it empties first."""

    def __init__(self, database: Database) -> None:
        self.gone: dict[str, int] = {}
        self._database = database
        with database.writes.begin() as connection:
            for table in Base.metadata.sorted_tables:
                connection.execute(table.delete())

    async def run(self, key: str, unit: Unit[T]) -> T:
        await gap()
        with self._database.writes.begin() as connection:
            result = unit(connection)
        note_deletes(self.gone, unit)
        return result

    def document(self, tenant: str, document_id: str) -> Document | None:
        with self._database.writes.begin() as connection:
            return load(connection, tenant, document_id)


def events_of(unit: Unit[Any]) -> Sequence[DocumentEvent]:
    """Return what a unit of work is to record."""
    assert isinstance(unit, partial)
    events: Sequence[DocumentEvent] = unit.keywords["events"] if "events" in unit.keywords else [unit.keywords["event"]]
    return events


def note_deletes(gone: dict[str, int], unit: Unit[Any]) -> None:
    for event in events_of(unit):
        if isinstance(event, DeleteAccepted):
            gone[event.document_id] = max(event.revision, gone.get(event.document_id, 0))
