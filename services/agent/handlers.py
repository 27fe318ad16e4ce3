"""What the agent consumes."""

from contracts import subjects, topology
from contracts.facts import QueryAnswered, QueryFailed
from contracts.queries import AskQuestion
from services.agent.answering import Answering
from services.agent.events import AnswerEvents, Publish
from shared.errors import PlatformError
from shared.messaging.delivery import Delivery
from shared.messaging.requests import to_reply


class AgentHandlers:
    """Questions from the queue."""

    def __init__(self, answering: Answering, publish: Publish) -> None:
        self._answering = answering
        self._publish = publish

    async def on_question(self, question: AskQuestion, delivery: Delivery) -> None:
        """Answer, or tell the caller why not; a fault is raised and tried again, its last try tells the caller too."""
        headers = {subjects.HEADER_CORRELATION_ID: delivery.correlation_id}
        events = AnswerEvents(self._publish, question, headers)
        try:
            answer = await self._answering.answer(question, events, delivery.deadline)
        except PlatformError as error:
            await _fail(question, events, error)
            return
        except Exception as error:
            if delivery.deliveries >= topology.AGENT.max_faults:
                await _fail(question, events, error)
            raise
        await events.announce(
            QueryAnswered(
                tenant=question.tenant,
                query_id=question.query_id,
                answered=answer.answered,
                citations=len(answer.citations),
                duration_ms=delivery.age_seconds * 1000,
            )
        )


async def _fail(question: AskQuestion, events: AnswerEvents, error: Exception) -> None:
    reply = to_reply(error)
    await events.send("error", reply.model_dump(exclude_none=True))
    await events.announce(
        QueryFailed(tenant=question.tenant, query_id=question.query_id, code=reply.code, message=reply.message)
    )
