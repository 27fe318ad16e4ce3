"""Where a comparison of database and index is, written as a cursor."""

from dataclasses import dataclass
from enum import StrEnum

from shared.errors import Rejected


class Stage(StrEnum):
    """What is compared, in this order."""

    REVISIONS = "revisions"
    DELETES = "deletes"
    COLLECTIONS = "collections"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Place:
    """The stage, and what came last in it: a revision, or a tenant and a name."""

    stage: Stage = Stage.REVISIONS
    revision: int = 0
    key: tuple[str, str] = ("", "")

    def after_revision(self, revision: int) -> "Place":
        """Return the place behind a revision."""
        return Place(self.stage, revision)

    def after_key(self, key: tuple[str, str]) -> "Place":
        """Return the place behind a tenant's document or collection."""
        return Place(self.stage, key=key)

    @property
    def cursor(self) -> str:
        """Return what `read_place` reads."""
        last = str(self.revision) if self.stage is Stage.REVISIONS else ":".join(self.key)
        return f"{self.stage}:{last}"


def read_place(cursor: str | None) -> Place:
    """Return the place of a cursor, the beginning without one; Rejected for one that no step has answered."""
    if cursor is None:
        return Place()
    name, _, last = cursor.partition(":")
    tenant, colon, rest = last.partition(":")
    if name == Stage.REVISIONS and last.isascii() and last.isdigit() and len(last) < 19:
        return Place(Stage.REVISIONS, int(last))
    if name in (Stage.DELETES, Stage.COLLECTIONS, Stage.UNFINISHED) and colon and "\x00" not in last:
        return Place(Stage(name), key=(tenant, rest))
    raise Rejected(f"cursor {cursor!r} is none that a step has answered", code="invalid_cursor", field="cursor")
