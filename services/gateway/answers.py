"""Asking the agent, and collecting the events of its answer.

The `done` event holds the whole answer, so neither the order nor the repetition of the events before it matters here.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.errors import NotFoundError
from pydantic import ValidationError

from contracts import subjects
from contracts.codec import DecodeError, decode, first_problem
from contracts.errors import ErrorReply
from contracts.queries import Answer, AnswerEvent, AskQuestion
from services.gateway.answer_streams import AnswerStreams, Events
from services.gateway.problems import RequestProblem
from services.gateway.seats import Seats
from shared.errors import DeadlineExpired, PlatformError, Unavailable
from shared.logs import get_logger
from shared.messaging.broker import DEFAULT_PENDING, PendingLimits
from shared.messaging.publishing import Publisher
from shared.messaging.requests import to_error
from shared.telemetry import current_trace_id

log = get_logger(__name__)


class Questions:
    """Puts questions on the queue and returns their answers."""

    def __init__(
        self,
        client: Client,
        publisher: Publisher,
        seats: Seats,
        streams: AnswerStreams,
        *,
        timeout_seconds: float,
        recheck_seconds: float,
        pending: PendingLimits = DEFAULT_PENDING,
    ) -> None:
        self._pending = pending
        self._client = client
        self._publisher = publisher
        self._seats = seats
        self._streams = streams
        self._timeout_seconds = timeout_seconds
        self._recheck_seconds = recheck_seconds

    async def ask(self, question: AskQuestion) -> Answer:
        """Return the answer; raises what the agent raised, DeadlineExpired with code `query_timeout` without one.

        Cancelled, the agent's work ends too, once it has not heard for a while that somebody waits.
        """
        deadline = time.time() + self._timeout_seconds
        with self._seats.taken(), self._streams.listening(question.query_id):
            events = await self._subscribe(question.query_id)
            try:
                await self._publish(question, deadline)
                end = await self._wait_for_end(events, question.query_id, deadline)
            finally:
                with suppress(NatsError):
                    await events.unsubscribe()
        return answer_in(end)

    def stream(self, question: AskQuestion) -> Events:
        """Yield the answer's events as they come, None first, once the question is stored, and for each heartbeat.

        The first item raises what keeps the question from being stored, a later one DeadlineExpired (`query_timeout`).
        An `error` event is yielded: `error_in` says what it means. To be closed by whoever takes it; see AnswerStreams.
        """
        return self._streams.begin(question.query_id, partial(self._publish, question))

    async def _subscribe(self, query_id: str) -> Subscription:
        try:
            return await self._pending.subscribe(self._client, subjects.answers(query_id))
        except NatsError as error:
            raise Unavailable(f"the broker does not answer: {type(error).__name__}") from error

    async def _publish(self, question: AskQuestion, deadline: float) -> None:
        headers = {
            subjects.HEADER_DEADLINE: str(int(deadline * 1000)),
            subjects.HEADER_CORRELATION_ID: current_trace_id(),
        }
        await self._publisher.publish(
            subjects.QUERIES_ASK,
            question.model_copy(update={"attended": True}),
            tenant=question.tenant,
            message_id=question.query_id,
            headers=headers,
        )

    async def _wait_for_end(self, events: Subscription, query_id: str, deadline: float) -> AnswerEvent:
        while (remaining := deadline - time.time()) > 0:
            try:
                event = _event_in(await events.next_msg(timeout=min(remaining, self._recheck_seconds)))
            except NatsTimeoutError:
                event = _event_in(await self._last_stored(query_id))
            except NatsError as error:
                raise Unavailable(f"the broker went away: {type(error).__name__}") from error
            if event is not None and event.terminal:
                return event
        raise DeadlineExpired(f"no answer within {self._timeout_seconds:g} s", code="query_timeout")

    async def _last_stored(self, query_id: str) -> Msg | None:
        """Return the last event that the broker holds: a notice that got lost on the way is still there."""
        try:
            stored = await self._client.jetstream().get_last_msg("ANSWERS", subjects.answers(query_id), direct=True)
        except (NotFoundError, NatsError, TimeoutError):
            return None
        return Msg(self._client, subject=stored.subject or "", data=stored.data or b"")


def _event_in(message: Msg | None) -> AnswerEvent | None:
    if message is None:
        return None
    try:
        return decode(AnswerEvent, message.data)
    except DecodeError as error:
        log.warning("answer_event_not_readable", reason=error)
        return None


def answer_in(end: AnswerEvent) -> Answer:
    """Return the answer that a terminal event carries; raises the error that it tells of."""
    if end.type == "error":
        raise error_in(end.data)
    try:
        return Answer.model_validate(end.data)
    except ValidationError as error:
        raise RuntimeError(f"the answer breaks its schema: {first_problem(error)}") from None


def error_in(data: Mapping[str, Any]) -> PlatformError:
    """Return the error that an `error` event tells of; one that does not say what kind it is counts as the agent's."""
    try:
        return to_error(ErrorReply.model_validate(data))
    except ValidationError:
        code, message = data.get("code", "query_failed"), data.get("message", "the question could not be answered")
        return RequestProblem(502, str(code), str(message))
