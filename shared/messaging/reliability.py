"""The middleware around every handler: trace, heartbeat, acknowledgement, retry, dead letter."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import structlog
from faststream import BaseMiddleware, ContextRepo
from faststream.message import StreamMessage
from faststream.nats import NatsPublishCommand
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from opentelemetry.trace import SpanKind, Tracer

from contracts import subjects
from contracts.topology import CONSUMERS, Consumer
from shared.errors import DeadlineExpired
from shared.logs import get_logger
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.delivery import Delivery
from shared.messaging.policy import Action, Decision, backoff_seconds, decide, reason_of
from shared.metrics import MessagingMetrics
from shared.telemetry import span

log = get_logger(__name__)
_CONSUMERS = {consumer.name: consumer for consumer in CONSUMERS}
HEARTBEATS_PER_ACK_WAIT = 3


class Reliability:
    """Makes the middleware of each message; holds what they share."""

    def __init__(self, tracer: Tracer, metrics: MessagingMetrics) -> None:
        self.tracer = tracer
        self.metrics = metrics
        self.dead_letters: DeadLetters | None = None

    def __call__(self, message: Msg | None, /, *, context: ContextRepo) -> "_ReliableMessage":
        """Return the middleware of one message, as FastStream asks for it."""
        return _ReliableMessage(message, context=context, owner=self)


class _ReliableMessage(BaseMiddleware[NatsPublishCommand]):
    def __init__(self, message: Msg | None, /, *, context: ContextRepo, owner: Reliability) -> None:
        super().__init__(message, context=context)
        self._owner = owner

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: StreamMessage[Msg]) -> Any:
        """Run the handler and settle the message; nothing is raised but cancellation."""
        delivery = cast(Delivery, await msg.decode())
        consumer = _CONSUMERS[delivery.consumer]
        started = time.perf_counter()
        with (
            span(
                self._owner.tracer,
                f"process {subjects.template_of(delivery.subject)}",
                SpanKind.CONSUMER,
                headers=delivery.headers,
                attributes=_attributes(delivery),
            ),
            structlog.contextvars.bound_contextvars(
                consumer=delivery.consumer, sequence=delivery.sequence, correlation_id=delivery.correlation_id
            ),
        ):
            outcome = await self._settle(call_next, msg, delivery, consumer)
        self._record(delivery, outcome, time.perf_counter() - started)

    async def _settle(
        self,
        call_next: Callable[[Any], Awaitable[Any]],
        msg: StreamMessage[Msg],
        delivery: Delivery,
        consumer: Consumer,
    ) -> str:
        raw = msg.raw_message
        try:
            async with _heartbeat(raw, consumer.ack_wait_seconds / HEARTBEATS_PER_ACK_WAIT):
                if consumer.honours_deadline:
                    _check_deadline(delivery)
                await call_next(msg)
        except asyncio.CancelledError:
            await raw.nak()
            raise
        except Exception as error:  # The boundary: whatever a handler raises is judged here and nowhere else.
            return await self._judge(error, raw, delivery, consumer)
        await raw.ack()
        for callback in delivery.after_ack:
            await callback()
        return "done"

    async def _judge(self, error: Exception, raw: Msg, delivery: Delivery, consumer: Consumer) -> str:
        decision = decide(error, delivery.deliveries, consumer)
        _log_failure(error, decision, delivery)
        if decision.action is Action.LEAVE:
            # An acknowledgement of either kind would count for the delivery that is at work.
            return str(decision.action)
        if decision.action is Action.RETRY:
            await raw.nak(delay=decision.delay_seconds)
            return "retry"
        if decision.action is Action.DEAD and not await self._bury(error, delivery):
            await raw.nak(delay=backoff_seconds(delivery.deliveries))
            return "retry"
        await raw.term()
        return str(decision.action)

    async def _bury(self, error: Exception, delivery: Delivery) -> bool:
        assert self._owner.dead_letters, "the service sets it before it consumes"
        try:
            await self._owner.dead_letters.bury(delivery, reason_of(error))
        except Exception as failure:  # Without its dead letter the message must stay; the next delivery tries again.
            log.error("dead_letter_failed", error=f"{type(failure).__name__}: {failure}")
            return False
        return True

    def _record(self, delivery: Delivery, outcome: str, seconds: float) -> None:
        labels = {"consumer": delivery.consumer}
        metrics = self._owner.metrics
        metrics.processed.add(1, {**labels, "outcome": outcome})
        metrics.duration.record(seconds, labels)
        metrics.waiting.record(delivery.age_seconds, labels)
        if delivery.deliveries > 1:
            metrics.redelivered.add(1, labels)


@asynccontextmanager
async def _heartbeat(message: Msg, interval_seconds: float) -> AsyncIterator[None]:
    """Tell the broker that the work goes on, so that slow work is not delivered a second time."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(interval_seconds)
            with suppress(NatsError):  # A broker that is away will redeliver; the effect is idempotent.
                await message.in_progress()

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()


def _check_deadline(delivery: Delivery) -> None:
    if delivery.deadline is not None and time.time() > delivery.deadline:
        raise DeadlineExpired("nobody waits for this any more")


def _log_failure(error: Exception, decision: Decision, delivery: Delivery) -> None:
    reason = reason_of(error)
    fields = {"code": reason.code, "reason": reason.message, "deliveries": delivery.deliveries}
    if reason.code == "internal_error":
        log.error("message_fault", action=decision.action, exc_info=error, **fields)
    else:
        log.warning("message_failed", action=decision.action, delay_seconds=round(decision.delay_seconds, 2), **fields)


def _attributes(delivery: Delivery) -> dict[str, str | int]:
    return {
        "messaging.system": "nats",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.template": subjects.template_of(delivery.subject),
        "messaging.consumer.group.name": delivery.consumer,
        "rag.message.deliveries": delivery.deliveries,
    }
