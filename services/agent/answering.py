"""Answering one question: understand it, retrieve, write, and tell the caller of each step."""

from contracts.queries import Answer, AskQuestion
from services.agent.conversation import Conversations
from services.agent.events import AnswerEvents
from services.agent.patience import Ask
from services.agent.retrieving import described, retrieve
from services.agent.writer import Writer
from shared.errors import Rejected


class Answering:
    """Answers questions with what `writer` makes of the passages; `ask` reaches the retriever."""

    def __init__(self, ask: Ask, writer: Writer, conversations: Conversations) -> None:
        self._ask = ask
        self._writer = writer
        self._conversations = conversations

    async def answer(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> Answer:
        """Return the answer after sending its events; raises shared.errors when there can be none."""
        await events.send("accepted", {"collection": question.collection})
        if question.mode != "rag":
            raise Rejected(f"mode {question.mode!r} is not available; use 'rag'", code="not_available", field="mode")
        understood = await self._conversations.understand(question, events, deadline)
        found = await retrieve(self._ask, understood.searched, deadline)
        await events.send("retrieval", described(found))
        answer = understood.completed(await self._writer.write(understood.answered, found, events, deadline))
        await events.send("citations", {"citations": [citation.model_dump() for citation in answer.citations]})
        await self._conversations.keep(understood, answer, events)
        await events.send("done", answer.model_dump())
        return answer
