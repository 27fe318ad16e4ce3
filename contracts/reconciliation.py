"""Comparing the database with the index: what is asked of the retriever, and what a step of it found."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from contracts.documents import CollectionName
from contracts.messages import Count, Message, Sequence

# A page must fit the broker's payload limit with ids of 256 characters, four bytes each.
MAX_REVISIONS_PER_PAGE: Final = 500
MAX_FENCES_PER_REQUEST: Final = 500
MAX_FINDINGS_PER_STEP: Final = 50
# How long a step may take, its second look included; whoever waits for one waits so long.
RECONCILE_STEP_SECONDS: Final = 60.0

DifferenceKind = Literal["orphan", "lost", "surplus", "fence", "unfinished"]
Outcome = Literal["repaired", "send_again", "open", "in_flight"]


class RevisionsRequest(Message):
    """Ask what the index holds of all tenants with a revision above `after`, looking at about `limit` points."""

    after: Sequence = 0
    limit: int = Field(default=MAX_REVISIONS_PER_PAGE, ge=1, le=MAX_REVISIONS_PER_PAGE)


class StoredRevision(Message):
    """How many points of one revision of a document the index that is searched holds."""

    tenant: str
    document_id: str
    revision: Sequence
    points: Count = 0


class RevisionsReply(Message):
    """Revisions in ascending order; `next_after` asks for the next page and is null on the last one."""

    entries: list[StoredRevision]
    next_after: int | None = None


class RemoveRequest(Message):
    """Remove these revisions from every index that is open; the number of points does not matter."""

    revisions: list[StoredRevision] = Field(min_length=1, max_length=MAX_REVISIONS_PER_PAGE)


class RemoveReply(Message):
    """Nothing of these revisions is in the index any more."""

    revisions: int


class IndexFence(Message):
    """The fence of a document, or of a collection: what of it may be shown, and below which revision nothing may."""

    tenant: str
    document_id: str | None = None
    collection: CollectionName | None = None
    visible: Sequence = 0
    floor: Sequence = 0

    @model_validator(mode="after")
    def _one_owner(self) -> Self:
        if (self.document_id is None) == (self.collection is None):
            raise ValueError("a fence is that of a document or that of a collection")
        return self


class FencesRequest(Message):
    """Lift fences to at least these numbers in every index that is open; with `look` only tell which are lower."""

    fences: list[IndexFence] = Field(min_length=1, max_length=MAX_FENCES_PER_REQUEST)
    look: bool = False


class FencesReply(Message):
    """Those of the fences that were lower, as they were; by now they are not, unless the request only looked."""

    behind: list[IndexFence]


class ReconcileRequest(Message):
    """Do one step of comparing database and index, from `cursor` on, none = from the beginning."""

    cursor: str | None = None


class ReconcileFinding(Message):
    """One difference: `expected` is what the database says and `found` what the index holds.

    They count points, or chunks of an unfinished document; for a fence they are the number that was too low. What
    became of it: `repaired`; `send_again`, the document is marked as failed, because what is missing cannot be made
    from anything that is stored; `open`, nothing was done; `in_flight`, it may still settle by itself.
    """

    kind: DifferenceKind
    outcome: Outcome
    tenant: str
    document_id: str | None = None
    collection: str | None = None
    revision: int
    expected: int
    found: int


class ReconcileReply(Message):
    """What one step saw: `counts` by kind and outcome, some of the differences, and where the next step begins.

    `documents` and `points` were compared in this step; `cursor` is null at the end.
    """

    documents: int
    points: int
    counts: dict[str, dict[str, int]] = Field(default_factory=dict)
    findings: list[ReconcileFinding] = Field(default_factory=list, max_length=MAX_FINDINGS_PER_STEP)
    cursor: str | None = None
