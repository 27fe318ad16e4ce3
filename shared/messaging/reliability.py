"""The middleware around every handler: trace, waiting for room, acknowledgement, retry, dead letter."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from faststream import BaseMiddleware, ContextRepo
from faststream.message import StreamMessage
from faststream.nats import NatsPublishCommand
from nats.aio.msg import Msg
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode, Tracer

from contracts import subjects
from contracts.codec import DecodeError
from contracts.topology import CONSUMERS, Consumer
from shared import semantics
from shared.errors import DeadlineExpired, NotYet, Overloaded, PlatformError, Rejected, RemoteFault
from shared.logs import get_logger
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.delivery import Delivery
from shared.messaging.outages import Outages
from shared.messaging.policy import Action, Decision, backoff_seconds, decide, reason_of, wait_seconds
from shared.messaging.spans import process_span
from shared.metrics import MessagingMetrics

log = get_logger(__name__)
_CONSUMERS = {consumer.name: consumer for consumer in CONSUMERS}
WAITING_LOGGED_EVERY_SECONDS = 60.0
GIVE_BACK_SECONDS = 1.0
DONE = "done"


class Reliability:
    """Makes the middleware of each message; holds what they share."""

    def __init__(self, tracer: Tracer, metrics: MessagingMetrics) -> None:
        self.tracer = tracer
        self.metrics = metrics
        self.dead_letters: DeadLetters | None = None
        self._stopping = asyncio.Event()
        self._logged_at: dict[str, float] = {}
        self._abandoned: dict[str, asyncio.Task[None]] = {}
        self._outages = Outages()
        self._turn = asyncio.Lock()

    def stop_waiting(self) -> None:
        """Have every message given back that waits: the process ends."""
        self._stopping.set()

    def abandon(self, raw: Msg, delivery: Delivery) -> None:
        """Give back a message whose handler was cut off.

        In a task of its own: whatever the cancelled handler awaits is cancelled as well.
        """
        if raw.reply in self._abandoned:
            return
        self.metrics.abandoned.add(1, {"consumer": delivery.consumer})
        log.warning(
            "message_abandoned",
            consumer=delivery.consumer,
            sequence=delivery.sequence,
            correlation_id=delivery.correlation_id,
            subject=subjects.template_of(delivery.subject),
            deliveries=delivery.deliveries,
            age_seconds=round(delivery.age_seconds, 1),
        )
        self._abandoned[raw.reply] = asyncio.create_task(raw.nak())

    async def settle_abandoned(self) -> int:
        """Wait until what was cut off is given back; return how many messages that were."""
        if self._abandoned:
            await asyncio.wait(self._abandoned.values(), timeout=GIVE_BACK_SECONDS)
        return len(self._abandoned)

    async def take_turn(self) -> None:
        """Let the event loop look for other news before the next message begins.

        Dozens arrive at once, each costs about a millisecond of decoding, and a request that came in behind them would
        wait for all.
        """
        async with self._turn:
            await asyncio.sleep(0)

    def succeeded(self, consumer: str) -> None:
        """Take note that a message was handled."""
        self._outages.succeeded(consumer)

    async def wait_in_place(self, error: PlatformError, delivery: Delivery, tries: int, waited_seconds: float) -> float:
        """Wait until the handler may be tried again; return for how long. Raises `error` when that makes no sense."""
        consumer = delivery.consumer
        outage = not isinstance(error, Overloaded | Rejected | NotYet) and self._outages.failed(consumer)
        seconds = wait_seconds(error, tries, waited_seconds, outage=outage)
        if seconds is None:
            raise error
        self._log_waiting(consumer, error)
        self.metrics.waiting_in_place.add(1, {"consumer": consumer, "code": error.error_code})
        try:
            if await self._waited(seconds, self._outages.over(consumer)):
                raise error
        finally:
            self.metrics.waiting_in_place.add(-1, {"consumer": consumer, "code": error.error_code})
        return seconds

    async def _waited(self, seconds: float, over: asyncio.Event) -> bool:
        """Wait, or until an outage is over; tell whether the process ends meanwhile."""
        events = [asyncio.create_task(self._stopping.wait()), asyncio.create_task(over.wait())]
        try:
            await asyncio.wait(events, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for event in events:
                event.cancel()
        return self._stopping.is_set()

    def _log_waiting(self, consumer: str, error: PlatformError) -> None:
        """Waiting lasts hours, so it is logged once a minute."""
        now = time.monotonic()
        if now - self._logged_at.get(consumer, -WAITING_LOGGED_EVERY_SECONDS) >= WAITING_LOGGED_EVERY_SECONDS:
            self._logged_at[consumer] = now
            log.warning("message_waits", code=error.error_code, reason=error)

    def __call__(self, message: Msg | None, /, *, context: ContextRepo) -> "_ReliableMessage":
        """Return the middleware of one message, as FastStream asks for it."""
        return _ReliableMessage(message, context=context, owner=self)


class _ReliableMessage(BaseMiddleware[NatsPublishCommand]):
    def __init__(self, message: Msg | None, /, *, context: ContextRepo, owner: Reliability) -> None:
        super().__init__(message, context=context)
        self._owner = owner

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: StreamMessage[Msg]) -> Any:
        """Run the handler and settle the message; nothing is raised but cancellation."""
        await self._owner.take_turn()
        delivery = cast(Delivery, await msg.decode())
        consumer = _CONSUMERS[delivery.consumer]
        started = time.perf_counter()
        with process_span(self._owner.tracer, delivery) as current:
            outcome = await self._settle(call_next, msg, delivery, consumer)
            if outcome != DONE:
                current.set_attribute(semantics.MESSAGE_OUTCOME, outcome)
            # Within the span, so that the figures can name its trace.
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
            await self._handle(call_next, msg, delivery, consumer)
        except asyncio.CancelledError:
            self._owner.abandon(raw, delivery)
            raise
        except Exception as error:  # The boundary: whatever a handler raises is judged here and nowhere else.
            return await self._judge(error, raw, delivery, consumer)
        await raw.ack()
        for callback in delivery.after_ack:
            await callback()
        return DONE

    async def _handle(
        self,
        call_next: Callable[[Any], Awaitable[Any]],
        msg: StreamMessage[Msg],
        delivery: Delivery,
        consumer: Consumer,
    ) -> None:
        """Run the handler, again and again while there is something to wait for; the delivery stays the same."""
        tries, waited_seconds = 0, 0.0
        while True:
            if consumer.honours_deadline:
                _check_deadline(delivery)
            try:
                await call_next(msg)
            except PlatformError as error:
                tries += 1
                if consumer.honours_deadline and not isinstance(error, Overloaded):
                    raise
                waited_seconds += await self._owner.wait_in_place(error, delivery, tries, waited_seconds)
            else:
                self._owner.succeeded(delivery.consumer)
                return

    async def _judge(self, error: Exception, raw: Msg, delivery: Delivery, consumer: Consumer) -> str:
        decision = decide(error, delivery.deliveries, consumer)
        _log_failure(error, decision, delivery)
        _mark(error, decision)
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
            log.error("dead_letter_failed", error=failure)
            return False
        return True

    def _record(self, delivery: Delivery, outcome: str, seconds: float) -> None:
        labels = {"consumer": delivery.consumer}
        metrics = self._owner.metrics
        metrics.processed.add(1, {**labels, "outcome": outcome})
        metrics.duration.record(seconds, labels)
        metrics.waiting.record(delivery.age_seconds, labels)
        if outcome == Action.DROP:
            metrics.expired.add(1, {"where": delivery.consumer})
        if delivery.deliveries > 1:
            metrics.redelivered.add(1, labels)


def _check_deadline(delivery: Delivery) -> None:
    if delivery.deadline is not None and time.time() > delivery.deadline:
        raise DeadlineExpired("nobody waits for this any more")


def _log_failure(error: Exception, decision: Decision, delivery: Delivery) -> None:
    reason = reason_of(error)
    fields = {"code": reason.code, "deliveries": delivery.deliveries, "action": str(decision.action)}
    if isinstance(error, PlatformError | DecodeError) and not isinstance(error, RemoteFault):
        log.warning("message_failed", reason=error, delay_seconds=round(decision.delay_seconds, 2), **fields)
    else:
        log.error("message_fault", exc_info=error, **fields)


def _mark(error: Exception, decision: Decision) -> None:
    """Say on the span what ended it: one that takes its error for an answer would look as if all were well."""
    current = trace.get_current_span()
    current.set_attribute(semantics.ERROR_TYPE, reason_of(error).code)
    if decision.action in (Action.RETRY, Action.DEAD):
        current.set_status(Status(StatusCode.ERROR, reason_of(error).code))
