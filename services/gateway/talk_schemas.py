"""Bodies and answers about conversations and feedback."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from contracts.conversations import (
    MAX_COMMENT_CHARACTERS,
    ConversationView,
    QueryId,
    Rating,
    TurnView,
)
from contracts.messages import Message


class Conversations(Message):
    """A page of conversations, the one that was used last first."""

    items: list[ConversationView]
    next_cursor: str | None


class Conversation(Message):
    """A conversation with a page of its turns, oldest first."""

    id: str
    title: str
    turn_count: int
    created_at: AwareDatetime
    updated_at: AwareDatetime
    turns: list[TurnView]
    next_cursor: str | None


class ConversationDeleteReceipt(Message):
    """The conversation is gone, and what is still on its way to it will not be kept."""

    id: str
    turn_count: int
    status: Literal["deleted"] = "deleted"


class FeedbackBody(Message):
    """What somebody thinks of the answer to a query; a later rating takes the place of an earlier one."""

    query_id: QueryId
    rating: Rating
    comment: Annotated[str, StringConstraints(max_length=MAX_COMMENT_CHARACTERS)] | None = Field(default=None)


class FeedbackReceipt(Message):
    """The feedback is stored and will be kept with the trace of its query."""

    query_id: str
    rating: Rating
    status: Literal["accepted"] = "accepted"
