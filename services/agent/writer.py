"""Writing an answer from passages that were found."""

from typing import Final, Protocol

from contracts.queries import Answer, AskQuestion
from contracts.retrieval import RetrieveReply
from services.agent.events import AnswerEvents

NOT_FOUND: Final = "I found nothing in the documents that answers this question."


class Writer(Protocol):
    """Writes answers of one kind; `name` tells people which."""

    @property
    def name(self) -> str:
        """Return the kind of answers, and their model."""
        ...

    async def write(
        self, question: AskQuestion, found: RetrieveReply, events: AnswerEvents, deadline: float | None
    ) -> Answer:
        """Return the answer after sending its text as events; raises shared.errors when there can be none."""
        ...


async def nothing_found(events: AnswerEvents) -> Answer:
    """Return the answer that there is none, after sending its text."""
    await events.send_text(NOT_FOUND)
    await events.end_text()
    return Answer(answer=NOT_FOUND, answered=False)
