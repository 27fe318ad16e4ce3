"""What the agent consumes."""

import asyncio
import math
from typing import Final

from contracts import subjects, topology
from contracts.errors import ErrorReply
from contracts.facts import QueryAnswered, QueryFailed
from contracts.queries import Answer, AnswerEvent, AskQuestion
from services.agent.answering import Answering
from services.agent.attendance import Attendance
from services.agent.events import AnswerEvents, Publish, Recall, StoreTogether, Told
from services.agent.first_words import FirstWords, Turn
from shared.errors import PlatformError, TakenOver
from shared.messaging.delivery import Delivery
from shared.messaging.requests import to_reply

# Someone else's answer mostly ends within seconds; after a left message the broker waits for half a minute.
LOOK_SECONDS: Final = 0.25
LOOKS: Final = 80


class AgentHandlers:
    """Questions from the queue; without `attendance` no work is cancelled for want of a listener."""

    def __init__(
        self,
        answering: Answering,
        publish: Publish,
        recall: Recall,
        attendance: Attendance | None = None,
        store_together: StoreTogether | None = None,
        first_words: FirstWords | None = None,
    ) -> None:
        self._answering = answering
        self._first_words = first_words or FirstWords(together=1, seconds=0.0)
        self._attendance = attendance or Attendance(seconds=math.inf)
        self._publish = publish
        self._recall = recall
        self._store_together = store_together

    async def on_question(self, question: AskQuestion, delivery: Delivery) -> None:
        """Answer, or tell the caller why not; a fault is raised and tried again, its last try tells the caller too."""
        with self._first_words.turn() as turn:
            await self._answer(question, delivery, turn)

    async def _answer(self, question: AskQuestion, delivery: Delivery, turn: Turn) -> None:
        headers = _headers_for(delivery)
        told = await self._recall(question.query_id) if delivery.deliveries > 1 else Told()
        events = AnswerEvents(self._publish, question, headers, told, self._store_together, turn)
        if told.end is not None:
            await events.announce(_fact_of(told.end, question, delivery))
            return
        try:
            async with self._attendance.of(question):
                answer = await self._answering.answer(question, events, delivery.deadline)
        except TakenOver:
            await self._leave(question, events, delivery)
            return
        except PlatformError as error:
            await _fail(question, events, error)
            return
        except Exception as error:
            if delivery.deliveries >= topology.AGENT.max_faults:
                await _fail(question, events, error)
            raise
        await events.announce(_answered(answer, question, delivery))

    async def _leave(self, question: AskQuestion, events: AnswerEvents, delivery: Delivery) -> None:
        """Settle a question that another delivery answers meanwhile; TakenOver when that one does not end in time."""
        for _ in range(LOOKS):
            told = await self._recall(question.query_id)
            if told.end is not None:
                await events.announce(_fact_of(told.end, question, delivery))
                return
            await asyncio.sleep(LOOK_SECONDS)
        raise TakenOver(f"another delivery of question {question.query_id} is at work")


def _headers_for(delivery: Delivery) -> dict[str, str]:
    """Return what the events say of their question, so that any gateway can go on with the answer."""
    headers = {subjects.HEADER_CORRELATION_ID: delivery.correlation_id}
    if deadline := delivery.headers.get(subjects.HEADER_DEADLINE):
        headers[subjects.HEADER_DEADLINE] = deadline
    return headers


def _fact_of(end: AnswerEvent, question: AskQuestion, delivery: Delivery) -> QueryAnswered | QueryFailed:
    """Return the fact of an answer that ended before its delivery did."""
    if end.type == "done":
        return _answered(Answer.model_validate(end.data), question, delivery)
    return _failed(ErrorReply.model_validate(end.data), question)


def _answered(answer: Answer, question: AskQuestion, delivery: Delivery) -> QueryAnswered:
    return QueryAnswered(
        tenant=question.tenant,
        query_id=question.query_id,
        answered=answer.answered,
        citations=len(answer.citations),
        duration_ms=delivery.age_seconds * 1000,
        conversation_id=question.conversation_id,
    )


def _failed(reply: ErrorReply, question: AskQuestion) -> QueryFailed:
    return QueryFailed(
        tenant=question.tenant,
        query_id=question.query_id,
        code=reply.code,
        message=reply.message,
        conversation_id=question.conversation_id,
    )


async def _fail(question: AskQuestion, events: AnswerEvents, error: Exception) -> None:
    reply = to_reply(error)
    await events.send("error", reply.model_dump(exclude_none=True))
    await events.announce(_failed(reply, question))
