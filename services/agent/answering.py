"""Answering one question: retrieve, write, and tell the caller of each step."""

from contracts.queries import Answer, AskQuestion
from services.agent.answer_cache import AnswerCache, MadeAnswer
from services.agent.events import AnswerEvents
from services.agent.patience import Ask
from services.agent.retrieving import described, retrieve
from services.agent.writer import Writer
from shared.errors import Rejected


class Answering:
    """Answers questions with what `writer` makes of the passages; `ask` reaches the retriever.

    With a cache, a question that was answered before gets the same answer while nothing has changed.
    """

    def __init__(self, ask: Ask, writer: Writer, cache: AnswerCache | None = None) -> None:
        self._ask = ask
        self._writer = writer
        self._cache = cache

    async def answer(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> Answer:
        """Return the answer after sending its events; raises shared.errors when there can be none."""
        if question.mode != "rag":
            await events.send("accepted")
            raise Rejected(f"mode {question.mode!r} is not available; use 'rag'", code="not_available", field="mode")
        made = await self._made(question, events, deadline)
        if made.answer.cached:
            await events.send_known(made.retrieval, made.answer)
        else:
            await events.send_end(made.answer)
        return made.answer

    async def _made(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> MadeAnswer:
        async def accept() -> None:
            await events.send("accepted")

        async def make() -> MadeAnswer:
            return await self._make(question, events, deadline)

        if self._cache is None:
            await accept()
            return await make()
        # An answer that is known is told with all its events at once, the first one included.
        return await self._cache.get_or_make(question, make, deadline, missed=accept)

    async def _make(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> MadeAnswer:
        found = await retrieve(self._ask, question, deadline)
        retrieval = described(found)
        await events.send("retrieval", retrieval)
        return MadeAnswer(retrieval=retrieval, answer=await self._writer.write(question, found, events, deadline))
