"""Answering one question: retrieve, write, and tell the caller of each step."""

from contracts.queries import Answer, AskQuestion
from services.agent.events import AnswerEvents
from services.agent.patience import Ask
from services.agent.retrieving import described, retrieve
from services.agent.writer import Writer
from shared.errors import Rejected


class Answering:
    """Answers questions with what `writer` makes of the passages; `ask` reaches the retriever."""

    def __init__(self, ask: Ask, writer: Writer) -> None:
        self._ask = ask
        self._writer = writer

    async def answer(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> Answer:
        """Return the answer after sending its events; raises shared.errors when there can be none."""
        await events.send("accepted", {"collection": question.collection})
        if question.mode != "rag":
            raise Rejected(f"mode {question.mode!r} is not available; use 'rag'", code="not_available", field="mode")
        found = await retrieve(self._ask, question, deadline)
        await events.send("retrieval", described(found))
        answer = await self._writer.write(question, found, events, deadline)
        await events.send("citations", {"citations": [citation.model_dump() for citation in answer.citations]})
        await events.send("done", answer.model_dump())
        return answer
