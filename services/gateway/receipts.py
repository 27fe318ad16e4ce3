"""What a caller is told of a document that was accepted."""

from dataclasses import dataclass

from contracts.reads import TERMINAL_STATUSES, DocumentError, DocumentStatus


@dataclass(slots=True, eq=False)
class Receipt:
    """A document that the broker has stored, and what became known of it since."""

    document_id: str
    collection: str
    revision: int
    duplicate: bool = False
    status: DocumentStatus = "accepted"
    error: DocumentError | None = None
    overtaken: bool = False

    @property
    def through(self) -> bool:
        """Tell whether nothing more is to come for this revision."""
        return self.overtaken or self.status in TERMINAL_STATUSES

    def as_json(self) -> dict[str, object]:
        """Return the receipt as a caller sees it."""
        fields: dict[str, object] = {
            "id": self.document_id,
            "collection": self.collection,
            "revision": self.revision,
            "status": self.status,
            "duplicate": self.duplicate,
        }
        return {**fields, "error": self.error.model_dump()} if self.error else fields
