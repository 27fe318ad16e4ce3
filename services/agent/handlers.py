"""What the agent consumes."""

import asyncio
import math
from functools import partial
from typing import Final

from opentelemetry.metrics import NoOpMeterProvider

from contracts import subjects, topology
from contracts.errors import ErrorReply
from contracts.facts import QueryAnswered, QueryFailed
from contracts.queries import Answer, AnswerEvent, AskQuestion
from services.agent.answering import Answering
from services.agent.attendance import Attendance
from services.agent.events import AnswerEvents, Publish, Recall, StoreTogether, Told
from services.agent.first_words import FirstWords, Turn
from services.agent.metrics import QueryMetrics, QueryOutcome
from shared.errors import PlatformError, TakenOver
from shared.messaging.delivery import Delivery
from shared.messaging.requests import to_reply

# Someone else's answer mostly ends within seconds; after a left message the broker waits for half a minute.
LOOK_SECONDS: Final = 0.25
LOOKS: Final = 80
# Kinds of errors for which whoever asked has the remedy: they are no failure of the platform.
_REFUSALS: Final = ("rejected", "not_found")


class AgentHandlers:
    """Questions from the queue; without `attendance` no work is cancelled for want of a listener."""

    def __init__(
        self,
        answering: Answering,
        publish: Publish,
        recall: Recall,
        attendance: Attendance | None = None,
        store_together: StoreTogether | None = None,
        metrics: QueryMetrics | None = None,
        first_words: FirstWords | None = None,
    ) -> None:
        self._metrics = metrics or QueryMetrics(NoOpMeterProvider().get_meter("agent"))
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
        first_delta = partial(self._first_delta, question, delivery)
        events = AnswerEvents(self._publish, question, headers, told, self._store_together, first_delta, turn)
        if told.end is not None:
            how = {"cached": bool(told.end.data.get("cached")), "refused": told.end.data.get("kind") in _REFUSALS}
            await self._end(events, _fact_of(told.end, question, delivery), question, delivery, **how)
            return
        try:
            async with self._attendance.of(question):
                answer = await self._answering.answer(question, events, delivery.deadline)
        except TakenOver:
            await self._leave(question, events, delivery)
            return
        except PlatformError as error:
            await self._fail(error, events, question, delivery)
            return
        except Exception as error:
            if delivery.deliveries >= topology.AGENT.max_faults:
                await self._fail(error, events, question, delivery)
            raise
        await self._end(events, _answered(answer, question, delivery), question, delivery, cached=answer.cached)

    async def _fail(self, error: Exception, events: AnswerEvents, question: AskQuestion, delivery: Delivery) -> None:
        reply = to_reply(error)
        await events.send("error", reply.model_dump(exclude_none=True))
        await self._end(events, _failed(reply, question), question, delivery, refused=reply.kind in _REFUSALS)

    async def _end(
        self,
        events: AnswerEvents,
        fact: QueryAnswered | QueryFailed,
        question: AskQuestion,
        delivery: Delivery,
        *,
        cached: bool = False,
        refused: bool = False,
    ) -> None:
        """Publish the fact that ends a question, then count it: a delivery that fails here is repeated."""
        await events.announce(fact)
        outcome: QueryOutcome = "rejected" if refused else "failed"
        if isinstance(fact, QueryAnswered):
            outcome = "answered" if fact.answered else "declined"
        self._metrics.ended(question.mode, outcome, delivery.age_seconds, cached=cached)

    def _first_delta(self, question: AskQuestion, delivery: Delivery) -> None:
        self._metrics.first_delta(question.mode, delivery.age_seconds)

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
