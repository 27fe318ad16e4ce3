"""Questions, and the events their answers are made of.

The events of one answer come in this order, numbered from 1:
`accepted`, (`step` | `retrieval` | `delta`)*, `citations`, `done` — or `error` at any point, which ends it.
"""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field

from contracts.documents import CollectionName
from contracts.messages import MAX_COUNT, Count, Message, Revision, now

AnswerEventType = Literal["accepted", "step", "retrieval", "delta", "citations", "done", "error"]
TERMINAL_EVENTS: frozenset[str] = frozenset({"done", "error"})
# Of questions and conversations.
ID_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$"
MAX_HISTORY_TURNS: Final = 20
MAX_TURN_CHARACTERS: Final = 8_000


class HistoryTurn(Message):
    """A question that was asked before, and its answer; empty when there was none."""

    question: str = Field(min_length=1, max_length=MAX_TURN_CHARACTERS)
    answer: str = Field(default="", max_length=MAX_TURN_CHARACTERS)


class AskQuestion(Message):
    """Answer a question from the documents of a tenant; `asked_at` gives it its place in its conversation.

    `history` is what the caller says was said before it, oldest first. With `attended` the work may stop when nobody
    has said for a while that somebody listens (`StillListening`).
    """

    tenant: str
    query_id: str = Field(pattern=ID_PATTERN)
    question: str = Field(min_length=1)
    collection: CollectionName | None = None
    mode: Literal["rag", "agent"] = "rag"
    conversation_id: str | None = Field(default=None, pattern=ID_PATTERN)
    asked_at: datetime = Field(default_factory=now)
    top_k: int = Field(default=10, ge=1, le=100)
    filter: dict[str, Any] | None = None
    history: list[HistoryTurn] = Field(default_factory=list, max_length=MAX_HISTORY_TURNS)
    attended: bool = False


class StillListening(Message):
    """Somebody reads the events of an answer."""

    query_id: str


class Citation(Message):
    """Where a claim comes from; `quote` is a verbatim part of the chunk, `ordinal` the chunk's place."""

    n: int = Field(ge=1, le=MAX_COUNT)
    document_id: str
    chunk_id: str
    title: str | None = None
    uri: str | None = None
    quote: str
    ordinal: Count | None = None
    page: int | None = None
    heading_path: list[str] = Field(default_factory=list)


class AnswerEvent(Message):
    """One event of an answer; `data` depends on `type`."""

    query_id: str
    sequence: Revision
    type: AnswerEventType
    data: dict[str, Any] = Field(default_factory=dict)

    @property
    def terminal(self) -> bool:
        """Tell whether nothing comes after this event."""
        return self.type in TERMINAL_EVENTS


class Answer(Message):
    """The whole answer, as the `done` event carries it."""

    answer: str
    answered: bool
    citations: list[Citation] = Field(default_factory=list)
    steps: list[dict[str, Any]] = Field(default_factory=list)
    usage: dict[str, float] = Field(default_factory=dict)
    cached: bool = False
    conversation_id: str | None = None
