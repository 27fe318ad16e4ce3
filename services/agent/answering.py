"""Answering one question: retrieve, write, and tell the caller of each step."""

from typing import Final

from contracts.queries import Answer, AskQuestion
from services.agent.agent_mode.agent import ToolAgent
from services.agent.events import AnswerEvents
from services.agent.patience import Ask
from services.agent.retrieving import described, retrieve
from services.agent.writer import Writer
from shared.errors import Rejected

NO_MODEL: Final = (
    "mode 'agent' needs a language model and the agent has none; set RAG_LLM_BASE_URL (and RAG_LLM_MODEL), or use 'rag'"
)


class Answering:
    """Answers questions with what `writer` makes of the passages; `ask` reaches the retriever.

    `agent` answers those of mode `agent`; without a language model there is none.
    """

    def __init__(self, ask: Ask, writer: Writer, agent: ToolAgent | None = None) -> None:
        self._ask = ask
        self._writer = writer
        self._agent = agent

    @property
    def writer_name(self) -> str:
        """Return what writes the answers."""
        return self._writer.name

    async def answer(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> Answer:
        """Return the answer after sending its events; raises shared.errors when there can be none."""
        await events.send("accepted")
        write = self._with_tools if question.mode == "agent" else self._from_passages
        answer = await write(question, events, deadline)
        await events.send("citations", {"citations": [citation.model_dump() for citation in answer.citations]})
        await events.send("done", answer.model_dump())
        if question.mode == "agent" and self._agent is not None:
            await self._agent.forget(question.query_id)
        return answer

    async def _from_passages(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> Answer:
        found = await retrieve(self._ask, question, deadline)
        await events.send("retrieval", described(found))
        return await self._writer.write(question, found, events, deadline)

    async def _with_tools(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> Answer:
        if self._agent is None:
            raise Rejected(NO_MODEL, code="not_available", field="mode")
        return await self._agent.answer(question, events, deadline)
