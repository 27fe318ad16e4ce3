"""Lean request and reply over core NATS, for the path that people wait on.

A reply is either the encoded message, or an `ErrorReply` marked by the `Rag-Error` header, which the caller gets back
as the error class it was. The deadline travels with the request, so that nobody works for a caller who has gone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Final, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from opentelemetry import trace
from opentelemetry.trace import Tracer

from contracts import subjects
from contracts.codec import DecodeError, decode, encode
from contracts.errors import ErrorReply
from contracts.messages import Message
from shared.ending import Ending
from shared.errors import (
    Conflict,
    DeadlineExpired,
    InvalidMessage,
    NotFound,
    Overloaded,
    PlatformError,
    Rejected,
    RemoteFault,
    Retryable,
    TakenOver,
    Unavailable,
)
from shared.logs import bind_document, bound_field, get_logger, log_scope
from shared.messaging.broker import DEFAULT_PENDING, PendingLimits
from shared.messaging.delivery import read_deadline
from shared.messaging.spans import request_span, respond_span
from shared.metrics import MessagingMetrics
from shared.telemetry import current_trace_id, inject_context
from shared.telemetry_context import current_tenant

log = get_logger(__name__)
Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)

QUEUE_FACTOR: Final = 4
MAX_ID_CHARACTERS: Final = 200
EXPIRED: Final = "expired"


class Requester:
    """Asks other services."""

    def __init__(self, client: Client, tracer: Tracer, *, timeout_seconds: float) -> None:
        self._client = client
        self._tracer = tracer
        self._timeout_seconds = timeout_seconds

    async def ask(self, subject: str, request: Message, reply: type[A], *, deadline: float | None = None) -> A:
        """Return the reply; raises what the other side raised, Unavailable when nobody answers in time.

        `deadline` is unix seconds; without one the configured patience holds.
        """
        until = min(deadline or float("inf"), time.time() + self._timeout_seconds)
        headers = {subjects.HEADER_DEADLINE: str(int(until * 1000))}
        if (tenant := current_tenant()) is not None:
            headers[subjects.HEADER_TENANT] = tenant
        with request_span(self._tracer, subject):
            inject_context(headers)
            headers[subjects.HEADER_CORRELATION_ID] = bound_field("correlation_id") or current_trace_id()
            message = await self._send(subject, encode(request), headers, until)
            if message.headers and subjects.HEADER_ERROR in message.headers:
                raise to_error(decode(ErrorReply, message.data))
            return decode(reply, message.data)

    async def _send(self, subject: str, payload: bytes, headers: dict[str, str], until: float) -> Msg:
        remaining = until - time.time()
        if remaining <= 0:
            raise DeadlineExpired(f"no time left to ask {subject}")
        try:
            return await self._client.request(subject, payload, timeout=remaining, headers=headers)
        except NoRespondersError:
            raise Unavailable(f"nobody answers {subject}: the service behind it is not running", away=True) from None
        except (NatsError, TimeoutError) as error:
            raise Unavailable(f"no answer on {subject} within {remaining:.1f} s") from error


class Responder:
    """Answers requests on one subject until it is stopped."""

    def __init__(self, subscription: Subscription, tasks: set[asyncio.Task[None]]) -> None:
        self._subscription = subscription
        self._tasks = tasks

    async def stop(self, ending: Ending) -> int:
        """Take no more requests and finish those that came; return how many were cut off by the bound."""
        with suppress(NatsError):  # A connection that is gone brings no more requests.
            await self._subscription.unsubscribe()
        unfinished = await ending.wait_for(set(self._tasks))
        for task in unfinished:
            task.cancel()
        return len(unfinished)


async def respond(
    client: Client,
    tracer: Tracer,
    metrics: MessagingMetrics,
    subject: str,
    model: type[Q],
    handler: Callable[[Q, float | None], Awaitable[Message]],
    *,
    queue: str,
    concurrency: int,
    pending: PendingLimits = DEFAULT_PENDING,
) -> Responder:
    """Answer requests on a subject, at most `concurrency` at a time; four times as many may wait, more are refused."""
    slots = asyncio.Semaphore(concurrency)
    tasks: set[asyncio.Task[None]] = set()

    async def answer(message: Msg) -> None:
        started, received_at = time.perf_counter(), time.time()
        headers: Mapping[str, str] = message.headers or {}
        outcome, context = "ok", None
        async with slots:
            try:
                with respond_span(tracer, subject, headers, received_at) as current, _scope(subject, headers):
                    # The figures name the trace, also that of a request that fails.
                    context = trace.set_span_in_context(current)
                    await _handle(model, message, handler)
            except Exception as error:  # The boundary: the caller must hear of every failure.
                outcome = await _respond_error(client, message, error)
        if outcome == EXPIRED:
            metrics.expired.add(1, {"where": subject})
        metrics.requests.record(time.perf_counter() - started, {"subject": subject, "outcome": outcome}, context)

    async def receive(message: Msg) -> None:
        if len(tasks) >= concurrency * QUEUE_FACTOR:
            await _respond_error(client, message, Overloaded(f"too many requests on {subject}"))
            return
        task = asyncio.create_task(answer(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return Responder(await pending.subscribe(client, subject, receive, queue=queue), tasks)


def _scope(subject: str, headers: Mapping[str, str]) -> AbstractContextManager[None]:
    """Have every line of a request name what it is about."""
    correlation = headers.get(subjects.HEADER_CORRELATION_ID, "")[:MAX_ID_CHARACTERS] or current_trace_id()
    return log_scope(subject=subjects.template_of(subject), correlation_id=correlation)


async def _handle(model: type[Q], message: Msg, handler: Callable[[Q, float | None], Awaitable[Message]]) -> None:
    """Handle and reply; a fault, also of the replying, is logged while the request's context still stands."""
    request, deadline = _decoded(model, message), _open_deadline(message.headers or {})
    bind_document(request)
    try:
        await message.respond(encode(await handler(request, deadline)))
    except Exception as error:
        if not isinstance(error, PlatformError):
            log.error("request_fault", exc_info=error)
        raise


def _decoded(model: type[Q], message: Msg) -> Q:
    try:
        return decode(model, message.data)
    except DecodeError as error:
        raise InvalidMessage(str(error), field=error.field) from None


def _open_deadline(headers: Mapping[str, str]) -> float | None:
    deadline = read_deadline(headers)
    if deadline is not None and time.time() > deadline:
        raise DeadlineExpired("the caller has stopped waiting")
    return deadline


async def _respond_error(client: Client, message: Msg, error: Exception) -> str:
    reply = to_reply(error)
    if message.reply:
        headers = {subjects.HEADER_ERROR: reply.code}
        await client.publish(message.reply, encode(reply), headers=headers)
    return reply.kind


def to_reply(error: Exception) -> ErrorReply:
    """Return what a caller is told of an error; the text of an unexpected one stays in the log."""
    if not isinstance(error, PlatformError) or isinstance(error, RemoteFault | TakenOver):
        return ErrorReply(kind="fault", code="internal_error", message="the service failed; its log has the details")
    kinds = {NotFound: "not_found", Rejected: "rejected", Retryable: "retryable", DeadlineExpired: EXPIRED}
    kind = next(kind for base, kind in kinds.items() if isinstance(error, base))
    retry_after = error.retry_after_seconds if isinstance(error, Retryable) else None
    return ErrorReply.model_validate(
        {
            "kind": kind,
            "code": error.error_code,
            "message": error.message,
            "field": error.field,
            "retry_after_seconds": retry_after,
            "quotes": error.quotes,
        }
    )


def to_error(reply: ErrorReply) -> PlatformError:
    """Return the error that a reply stands for."""
    error = _error_of(reply)
    error.quotes = reply.quotes
    return error


def _error_of(reply: ErrorReply) -> PlatformError:
    if reply.kind == "retryable":
        kind = Overloaded if reply.code == Overloaded.code else Unavailable
        return kind(reply.message, code=reply.code, retry_after_seconds=reply.retry_after_seconds)
    if reply.kind == EXPIRED:
        return DeadlineExpired(reply.message, code=reply.code)
    if reply.kind == "not_found":
        return NotFound(reply.message, code=reply.code, field=reply.field)
    if reply.kind == "rejected":
        base = Conflict if reply.code == Conflict.code else Rejected
        return base(reply.message, code=reply.code, field=reply.field)
    return RemoteFault(reply.message)
