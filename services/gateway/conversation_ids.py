"""Which conversation a question belongs to."""

import uuid

from contracts.conversations import NEW_CONVERSATION


def conversation_of(asked_for: str | None) -> str | None:
    """Return the id of the conversation that was asked for; `new` gets an id that nobody has."""
    return uuid.uuid4().hex if asked_for == NEW_CONVERSATION else asked_for
