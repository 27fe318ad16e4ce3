"""The facts that follow from a document's state."""

from dataclasses import dataclass
from typing import Literal

from contracts.facts import (
    DocumentAccepted,
    DocumentDeleted,
    DocumentFact,
    DocumentFailed,
    DocumentIndexed,
    DocumentSuperseded,
)
from services.persistence.document import Document


@dataclass(frozen=True, slots=True)
class Announcement:
    """A fact to publish once the state is stored; `part` tells facts of one kind about one revision apart."""

    fact: DocumentFact
    part: int | None = None


def accepted(state: Document, op: Literal["upsert", "delete"]) -> Announcement:
    """Say that the message of the present revision is recorded."""
    fact = DocumentAccepted(
        tenant=state.tenant,
        document_id=state.document_id,
        revision=state.revision,
        collection=state.collection,
        op=op,
    )
    return Announcement(fact)


def deleted(state: Document, revision: int) -> Announcement:
    """Say that everything of the document from before a revision is gone."""
    fact = DocumentDeleted(tenant=state.tenant, document_id=state.document_id, revision=revision)
    return Announcement(fact)


def outcome(state: Document) -> tuple[Announcement, ...]:
    """Say that the present revision is indexed or failed; nothing while it is neither."""
    fact: DocumentFact
    error = state.progress.error
    if state.status == "indexed":
        fact = DocumentIndexed(
            tenant=state.tenant,
            document_id=state.document_id,
            revision=state.revision,
            collection=state.collection,
            chunks=state.visible_chunks,
        )
    elif state.status == "failed" and error is not None:
        fact = DocumentFailed(
            tenant=state.tenant,
            document_id=state.document_id,
            revision=state.revision,
            code=error.code,
            message=error.message,
        )
    else:
        return ()
    return (Announcement(fact),)


def superseded(state: Document, revision: int, part: int | None = None) -> Announcement:
    """Say that an outdated revision must leave the index, and which one outdates it."""
    later = revision > state.revision and state.ahead is not None
    fact = DocumentSuperseded(
        tenant=state.tenant,
        document_id=state.document_id,
        revision=revision,
        current_revision=state.ahead.revision if later and state.ahead else state.revision,
    )
    return Announcement(fact, part)
