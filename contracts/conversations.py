"""Conversations and feedback: what the agent has recorded and asks for, what the gateway lists, reads and deletes.

A conversation is known by its tenant and its id together: an id of another tenant's is one that is not there.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from contracts.messages import Message, Sequence
from contracts.queries import ID_PATTERN, Citation

NEW_CONVERSATION: Final = "new"
MAX_LISTED: Final = 500
MAX_TURNS_LISTED: Final = 100
MAX_PAST_TURNS: Final = 20
MAX_COMMENT_CHARACTERS: Final = 4_000

ConversationId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
QueryId = ConversationId
Rating = Literal["up", "down"]


class ConversationTurn(Message):
    """A question and its answer, to be kept once under its query id, whichever way and however often it comes.

    `stand_alone` is the question as it was answered, where it was rewritten. Of two answers to one question the one of
    the higher `version`, its place in the stream of answers, stays. `shortened` tells that it was too long to keep.
    """

    tenant: str
    conversation_id: ConversationId
    query_id: str
    version: Sequence
    question: str
    stand_alone: str | None = None
    answer: str
    answered: bool
    citations: list[Citation] = Field(default_factory=list)
    shortened: bool = False
    trace_id: str | None = None
    asked_at: datetime
    answered_at: datetime


class RecordReply(Message):
    """What became of a turn: it is kept, unless the conversation was deleted."""

    kept: bool


class HistoryQuery(Message):
    """Ask for the last turns of a conversation, but for the one of `query_id` itself."""

    tenant: str
    conversation_id: ConversationId
    query_id: str
    turns: int = Field(ge=1, le=MAX_PAST_TURNS)


class PastTurn(Message):
    """What was asked, in words that stand alone, and how the answer to it began."""

    question: str
    answer: str
    answered: bool = True


class HistoryReply(Message):
    """The last turns, oldest first; none of a conversation that has not begun."""

    turns: list[PastTurn]


class ConversationListQuery(Message):
    """Ask for a page of conversations, newest first; `cursor` is what the page before returned."""

    tenant: str
    limit: int = Field(default=50, ge=1, le=MAX_LISTED)
    cursor: str | None = None


class ConversationView(Message):
    """A conversation; `title` is how its first question begins, `updated_at` when its last answer was given."""

    id: str
    title: str
    turn_count: int
    created_at: datetime
    updated_at: datetime


class ConversationPage(Message):
    """A page of conversations; `next_cursor` is null on the last page."""

    items: list[ConversationView]
    next_cursor: str | None = None


class ConversationQuery(Message):
    """Ask for one conversation with a page of its turns, oldest first."""

    tenant: str
    conversation_id: ConversationId
    limit: int = Field(default=50, ge=1, le=MAX_TURNS_LISTED)
    cursor: str | None = None


class TurnView(Message):
    """A turn as a reader sees it, with what was said of its answer last."""

    query_id: str
    question: str
    stand_alone: str | None = None
    answer: str
    answered: bool
    citations: list[Citation]
    shortened: bool = False
    trace_id: str | None = None
    asked_at: datetime
    answered_at: datetime
    rating: Rating | None = None
    comment: str | None = None


class ConversationContent(ConversationView):
    """A conversation with a page of its turns; `turn_count` counts them all, `next_cursor` is null on the last page."""

    turns: list[TurnView]
    next_cursor: str | None = None


class ConversationDelete(Message):
    """Delete a conversation with all its turns, and what was said about them."""

    tenant: str
    conversation_id: ConversationId


class ConversationDeleted(Message):
    """The conversation is gone, and no turn of it that is still on its way will be kept."""

    conversation_id: str
    turn_count: int


class QueryLookup(Message):
    """Ask whether a question was asked."""

    tenant: str
    query_id: QueryId


class AskedQuery(Message):
    """A question that was answered or failed."""

    query_id: str
    trace_id: str | None = None
    conversation_id: str | None = None
