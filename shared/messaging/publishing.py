"""Publishing to JetStream: acknowledged, with a message id, with the trace and the tenant in the headers."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import PubAck
from nats.js.errors import APIError, NoStreamResponseError
from opentelemetry.trace import Tracer

from contracts import subjects
from contracts.codec import content_type, encode
from contracts.facts import SUBJECT_OF_FACT, DocumentFact
from contracts.messages import Fact, Message
from shared import semantics
from shared.errors import Overloaded, PlatformError, Rejected, StreamMoved, Unavailable
from shared.messaging.acknowledging import Acknowledgements, Answer
from shared.messaging.spans import send_span
from shared.telemetry import inject_context, mark_failed

# The server's codes for: maximum messages, maximum bytes, insufficient storage.
FULL_STREAM_ERRORS = (10077, 10122, 10023)
WRONG_LAST_SEQUENCE = 10071
# How the server says that it can't at the moment, for example because a cluster has no leader.
_NOT_NOW = 503
_ATTEMPT_SECONDS = 2.0
_PAUSE_SECONDS = 0.2
_LEAST_SECONDS = 0.05
_BATCH_ID_BYTES = 12


@dataclass(frozen=True, slots=True)
class Published:
    """The server's acknowledgement: the place in the stream, and whether this message id was there before."""

    sequence: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message as it is published; a repeat of the same `message_id` is not stored again."""

    payload: bytes
    message_id: str
    headers: Mapping[str, str]


def message_id(document_id: str, revision: int, stage: str, batch: int | None = None) -> str:
    """Return the `Nats-Msg-Id` of a document's message: document:revision:stage[:batch]."""
    parts = [quote(document_id, safe=""), str(revision), stage]
    return ":".join(parts if batch is None else [*parts, str(batch)])


class Publisher:
    """Publishes messages and waits until they are stored."""

    def __init__(self, client: Client, tracer: Tracer, *, timeout_seconds: float) -> None:
        self._client = client
        self._jetstream = client.jetstream()
        self._acknowledgements = Acknowledgements(client)
        self._tracer = tracer
        self._timeout_seconds = timeout_seconds

    async def publish(
        self,
        subject: str,
        message: Message,
        *,
        tenant: str,
        message_id: str,
        headers: Mapping[str, str] | None = None,
    ) -> Published:
        """Publish a message once, however often it is tried; see `publish_bytes` for what is raised."""
        fields = {subjects.HEADER_CONTENT_TYPE: content_type(type(message)), **(headers or {})}
        return await self.publish_bytes(subject, encode(message), tenant=tenant, message_id=message_id, headers=fields)

    async def publish_fact(
        self, fact: Fact, *, part: int | None = None, headers: Mapping[str, str] | None = None
    ) -> Published:
        """Publish a fact about a document under the message id that names its document, revision and kind."""
        subject = SUBJECT_OF_FACT[type(fact)]
        if not isinstance(fact, DocumentFact):
            raise TypeError(f"{type(fact).__name__} is not a fact about a document; publish it with an id of its own")
        kind = subject.removeprefix("rag.v1.facts.")
        identity = message_id(fact.document_id, fact.revision, kind, part)
        return await self.publish(subject, fact, tenant=fact.tenant, message_id=identity, headers=headers)

    async def publish_bytes(
        self, subject: str, payload: bytes, *, tenant: str, message_id: str, headers: Mapping[str, str]
    ) -> Published:
        """Publish bytes; Overloaded when the stream is full, Unavailable when nothing was acknowledged in time.

        Rejected (`too_large`) when headers and payload are over the broker's limit, StreamMoved when a header expected
        another last sequence.
        """
        (outcome,) = await self.publish_each(subject, [Outgoing(payload, message_id, headers)], tenant=tenant)
        if isinstance(outcome, PlatformError):
            raise outcome
        return outcome

    async def publish_each(
        self, subject: str, messages: Sequence[Outgoing], *, tenant: str
    ) -> list[Published | PlatformError]:
        """Publish messages in one go, each stored or refused by itself; return what became of each, in their order.

        An error is one that `publish_bytes` raises. Messages that are stored stand in the stream in their order, but
        for one that had to be sent again.
        """
        common = {subjects.HEADER_TENANT: tenant}
        with send_span(self._tracer, subjects.template_of(subject), tenant) as sending:
            if len(messages) > 1:
                sending.set_attribute(semantics.MESSAGE_COUNT, len(messages))
            inject_context(common)
            outcomes = await self._send_each(subject, messages, common)
            failure = next((outcome for outcome in outcomes if isinstance(outcome, PlatformError)), None)
            if failure is not None:
                mark_failed(sending, failure)
        return outcomes

    async def _send_each(
        self, subject: str, messages: Sequence[Outgoing], common: Mapping[str, str]
    ) -> list[Published | PlatformError]:
        """Try until the time is up; the message ids make a repeat harmless."""
        left, outcomes = self._fitting(messages, common)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_seconds
        while left:
            patience = min(_ATTEMPT_SECONDS, max(deadline - loop.time(), _LEAST_SECONDS))
            answers = await self._acknowledgements.publish(subject, list(left.values()), patience)
            is_last = loop.time() + _PAUSE_SECONDS > deadline
            for place, answer in zip(list(left), answers, strict=True):
                if (outcome := _outcome(subject, answer, is_last=is_last)) is not None:
                    outcomes[place] = outcome
                    del left[place]
            if left:
                # A broker that is electing a leader answers at once, but with nothing.
                await asyncio.sleep(_PAUSE_SECONDS)
        return [outcomes[place] for place in range(len(messages))]

    def _fitting(
        self, messages: Sequence[Outgoing], common: Mapping[str, str]
    ) -> tuple[dict[int, tuple[bytes, dict[str, str]]], dict[int, Published | PlatformError]]:
        """Return payload and headers of what the broker takes, and why not of the rest, by their places."""
        fitting: dict[int, tuple[bytes, dict[str, str]]] = {}
        refused: dict[int, Published | PlatformError] = {}
        for place, message in enumerate(messages):
            headers = {**message.headers, **common, subjects.HEADER_MESSAGE_ID: message.message_id}
            try:
                self._check_size(message.payload, headers)
            except Rejected as error:
                refused[place] = error
            else:
                fitting[place] = (message.payload, headers)
        return fitting, refused

    async def publish_together(
        self, subject: str, messages: Sequence[Message], *, tenant: str, headers: Mapping[str, str]
    ) -> Published:
        """Publish messages to a stream that takes batches, all of them or none; return where the last one is stored.

        `headers` are those of the first. Raises what `publish_bytes` raises: a try that is repeated because nobody
        acknowledged it gets StreamMoved where the headers expected a last sequence and it was stored after all.
        """
        common = {subjects.HEADER_TENANT: tenant, subjects.HEADER_CONTENT_TYPE: content_type(type(messages[0]))}
        with send_span(self._tracer, subjects.template_of(subject), tenant) as sending:
            sending.set_attribute(semantics.MESSAGE_COUNT, len(messages))
            inject_context(common)
            payloads = [encode(message) for message in messages]
            firsts = [{**common, **headers}, *(dict(common) for _ in payloads[1:])]
            ack = await self._tried(lambda timeout: self._send_batch(subject, payloads, firsts, timeout), subject)
        return Published(sequence=ack.seq, duplicate=False)

    async def _send_batch(
        self, subject: str, payloads: Sequence[bytes], headers: Sequence[Mapping[str, str]], timeout_seconds: float
    ) -> PubAck:
        batch = secrets.token_hex(_BATCH_ID_BYTES)
        for place, (payload, fields) in enumerate(zip(payloads, headers, strict=True), 1):
            numbered = {
                **fields,
                subjects.HEADER_BATCH_ID: batch,
                subjects.HEADER_BATCH_SEQUENCE: str(place),
            }
            self._check_size(payload, numbered)
            if place < len(payloads):
                # The server answers the last one alone; it looks at all of them together.
                await self._client.publish(subject, payload, headers=numbered)
        numbered[subjects.HEADER_BATCH_COMMIT] = "1"
        return await self._jetstream.publish(subject, payloads[-1], headers=numbered, timeout=timeout_seconds)

    async def _tried(self, send: Callable[[float], Awaitable[PubAck]], subject: str) -> PubAck:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_seconds
        while True:
            try:
                left = max(deadline - loop.time(), _LEAST_SECONDS)
                return await send(min(_ATTEMPT_SECONDS, left))
            except (NatsError, TimeoutError) as error:
                if not _may_pass(error):
                    raise _refused(subject, error) from error
                if loop.time() + _PAUSE_SECONDS > deadline:
                    raise _not_acknowledged(subject, error) from error
                # A broker that is electing a leader answers at once, but with nothing.
                await asyncio.sleep(_PAUSE_SECONDS)

    def _check_size(self, payload: bytes, headers: Mapping[str, str]) -> None:
        """Refuse what the broker would answer by closing the connection."""
        size = len(payload) + header_bytes(headers)
        if size > self._client.max_payload:
            raise Rejected(
                f"message of {size} bytes is over the broker's limit of {self._client.max_payload} bytes",
                code="too_large",
            )


def header_bytes(headers: Mapping[str, str]) -> int:
    """Return how much of a message its headers take up."""
    frame = len(b"NATS/1.0\r\n\r\n")
    return frame + sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers.items())


def _may_pass(error: Exception) -> bool:
    """Tell whether the next attempt may succeed."""
    if isinstance(error, APIError):
        return error.code == _NOT_NOW and error.err_code not in FULL_STREAM_ERRORS
    return True


def _outcome(subject: str, answer: Answer, *, is_last: bool) -> Published | PlatformError | None:
    """Return what became of a message, None when it is to be sent again."""
    if isinstance(answer, PubAck):
        return Published(answer.seq, bool(answer.duplicate))
    if not _may_pass(answer):
        return _refused(subject, answer)
    return _not_acknowledged(subject, answer) if is_last else None


def _not_acknowledged(subject: str, error: Exception) -> Unavailable:
    template = subjects.template_of(subject)
    if isinstance(error, NoStreamResponseError):
        message = f"no stream takes {template} at the moment; if it stays so, run `rag provision`"
    else:
        message = f"the broker did not acknowledge a message on {template}: {type(error).__name__}"
    return Unavailable(message, away=True)


def _refused(subject: str, error: Exception) -> Unavailable | Overloaded:
    template = subjects.template_of(subject)
    if not isinstance(error, APIError):
        return _not_acknowledged(subject, error)
    if error.err_code in FULL_STREAM_ERRORS:
        return Overloaded(f"the queue behind {template} is full")
    if error.err_code == WRONG_LAST_SEQUENCE:
        return StreamMoved(f"the stream behind {template} took another message meanwhile")
    return Unavailable(f"the broker refused a message on {template}: {error}")
