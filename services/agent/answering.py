"""Answering one question: understand it, find passages or use tools, write, and tell the caller of each step."""

from typing import Final

from contracts.queries import Answer, AskQuestion
from services.agent.agent_mode.agent import ToolAgent
from services.agent.answer_cache import AnswerCache, MadeAnswer
from services.agent.conversation import Conversations, Understood, follows_on
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

    With a cache, a question that was answered before gets the same answer while nothing has changed. `agent` answers
    those of mode `agent`; without a language model there is none.
    """

    def __init__(
        self,
        ask: Ask,
        writer: Writer,
        conversations: Conversations,
        cache: AnswerCache | None = None,
        agent: ToolAgent | None = None,
    ) -> None:
        self._ask = ask
        self._writer = writer
        self._conversations = conversations
        self._cache = cache
        self._agent = agent

    @property
    def writer_name(self) -> str:
        """Return what writes the answers."""
        return self._writer.name

    async def answer(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> Answer:
        """Return the answer after sending its events; raises shared.errors when there can be none."""
        if not follows_on(question):
            return await self._answer_at_once(question, events, deadline)
        await events.accept()
        understood = await self._conversations.understand(question, events, deadline)
        made = await self._made(understood, events, deadline)
        answer = understood.completed(made.answer)
        if answer.cached:
            await events.send_body(made.retrieval, answer)
        await events.send_citations(answer)
        await self._conversations.keep(understood, answer, events)
        await events.send_done(answer)
        return answer

    async def _answer_at_once(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> Answer:
        made = await self._made(Understood(question, question, question), events, deadline)
        if made.answer.cached:
            await events.send_known(made.retrieval, made.answer)
        else:
            await events.send_citations(made.answer)
            await events.send_done(made.answer)
        return made.answer

    async def _made(self, understood: Understood, events: AnswerEvents, deadline: float | None) -> MadeAnswer:
        async def make() -> MadeAnswer:
            return await self._from_passages(understood, events, deadline)

        if understood.asked.mode == "agent":
            await events.accept()
            return await self._with_tools(understood, events, deadline)
        if self._cache is None:
            await events.accept()
            return await make()
        # An answer that is known is told with all its events at once, the first one included.
        return await self._cache.get_or_make(
            understood.searched, make, deadline, missed=events.accept, answered=understood.answered.question
        )

    async def _from_passages(self, understood: Understood, events: AnswerEvents, deadline: float | None) -> MadeAnswer:
        found = await retrieve(self._ask, understood.searched, deadline)
        retrieval = described(found)
        await events.send("retrieval", retrieval)
        answer = await self._writer.write(understood.answered, found, events, deadline)
        return MadeAnswer(retrieval=retrieval, answer=answer)

    async def _with_tools(self, understood: Understood, events: AnswerEvents, deadline: float | None) -> MadeAnswer:
        if self._agent is None:
            raise Rejected(NO_MODEL, code="not_available", field="mode")
        answer = await self._agent.answer(understood.answered, events, deadline)
        return MadeAnswer(retrieval={}, answer=answer)
