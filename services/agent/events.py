"""The events of one answer, numbered from 1 in the order they are sent.

accepted  {"collection": the one that was asked for, null = all}
retrieval {"hits": [{"document_id", "chunk_id", "title", "score"}], "took_ms": {…}}
delta     {"text"}
step      {"kind": "restarted"}: the text so far no longer counts, the answer begins anew
          {"kind": "rewritten", "question"}: what is answered instead, since it stands without the conversation
          {"kind": "not_rewritten", "code"}: the question is answered as it is, since rewriting it failed
          {"n", "kind": "llm", "result", "duration_ms"}: the model asked for tools
          {"n", "kind": "tool", "tool", "arguments", "result", "failed", "duration_ms"}: a tool was called
          {"n", "kind": "budget", "budget", "result"}: no more tools, as this budget is spent
citations {"citations": [Citation…]}
done      Answer
error     ErrorReply, instead of whatever has not been sent yet
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from contracts import subjects
from contracts.facts import SUBJECT_OF_FACT, QueryAnswered, QueryFailed
from contracts.messages import Message
from contracts.queries import Answer, AnswerEvent, AnswerEventType, AskQuestion
from services.agent.first_words import Turn
from shared.errors import StreamMoved, TakenOver

RESTARTED: Mapping[str, str] = {"kind": "restarted"}


class Stored(Protocol):
    """A message's place in its stream."""

    @property
    def sequence(self) -> int:
        """Return the number, from 1."""
        ...


class Publish(Protocol):
    """Stores a message once under its id, however often it is published."""

    async def __call__(
        self, subject: str, message: Message, *, tenant: str, message_id: str, headers: Mapping[str, str] | None = None
    ) -> Stored:
        """Publish and return once the message is stored."""
        ...


class StoreTogether(Protocol):
    """Stores messages of one subject, all of them or none."""

    async def __call__(
        self, subject: str, messages: Sequence[Message], *, tenant: str, headers: Mapping[str, str]
    ) -> Stored:
        """Publish and return where the last one is stored; the headers are those of the first."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """What an earlier delivery of a question has told its caller, and where the last event stands in the stream."""

    events: tuple[AnswerEvent, ...] = ()
    stream_sequence: int = 0

    @property
    def end(self) -> AnswerEvent | None:
        """Return the event that ended the answer, if one did."""
        return self.events[-1] if self.events and self.events[-1].terminal else None

    def step(self, *kinds: str) -> Mapping[str, Any] | None:
        """Return the data of the last step of one of these kinds, None when there was none."""
        steps = (event.data for event in reversed(self.events) if event.type == "step")
        return next((data for data in steps if data.get("kind") in kinds), None)

    @property
    def text(self) -> str:
        """Return the text that the caller has read and that still counts."""
        text = ""
        for event in self.events:
            if event.type == "delta":
                text += str(event.data.get("text", ""))
            elif event.type == "step" and event.data.get("kind") == RESTARTED["kind"]:
                text = ""
        return text


class Recall(Protocol):
    """Looks up what was told of a question."""

    async def __call__(self, query_id: str) -> Told:
        """Return the events that are stored, in order."""
        ...


def _what_was_done(step: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what makes two steps the same, however long they took."""
    return tuple(step.get(field) for field in ("n", "kind", "tool", "arguments", "budget"))


class AnswerEvents:
    """Sends the events of one question's answer, and the fact that ends it.

    An event is published again under the same id until it is stored, and stored only behind the one before it: of two
    deliveries of one question the one that fell behind gets TakenOver and stops. `told` is where an earlier delivery
    got to; its text is gone on with when the new one begins the same way. `first_delta` is called once the first piece
    of text is stored, by whichever delivery.
    """

    def __init__(
        self,
        publish: Publish,
        question: AskQuestion,
        headers: Mapping[str, str],
        told: Told | None = None,
        store_together: StoreTogether | None = None,
        first_delta: Callable[[], None] = lambda: None,
        turn: Turn | None = None,
    ) -> None:
        self._publish = publish
        self._first_delta = first_delta
        self._turn = turn
        self._store_together = store_together
        self._question = question
        self._headers = headers
        self._told = told or Told()
        self._has_delta = any(event.type == "delta" for event in self._told.events)
        self._sequence = len(self._told.events)
        self._stream_sequence = self._told.stream_sequence
        self._text, self._to_repeat = "", self._told.text
        # Without it another delivery's event of the same number would be taken for this one's.
        self._delivery = secrets.token_hex(4)
        self._storing: asyncio.Task[None] | None = None

    @property
    def told(self) -> Told:
        """Return what an earlier delivery told."""
        return self._told

    @property
    def place(self) -> int:
        """Return the place of the last event in the stream: of two deliveries, what the later one says is higher."""
        return self._stream_sequence

    @property
    def correlation_id(self) -> str:
        """Return what all work for the question shares."""
        return self._headers.get(subjects.HEADER_CORRELATION_ID, "")

    async def send(self, kind: AnswerEventType, data: Mapping[str, Any] | None = None) -> None:
        """Publish the next event; that a question was accepted, and what was found, is told once.

        A sender that is cancelled meanwhile leaves the event to be stored: the next one waits for it.
        """
        if self._was_told(kind, data or {}):
            return
        if self._storing is not None and not self._storing.done():
            await asyncio.wait([self._storing])
        self._storing = asyncio.create_task(self._send(kind, data or {}))
        self._storing.add_done_callback(_look_at_failure)
        await asyncio.shield(self._storing)

    async def _send(self, kind: AnswerEventType, data: Mapping[str, Any]) -> None:
        query_id, sequence = self._question.query_id, self._sequence + 1
        event = AnswerEvent(query_id=query_id, sequence=sequence, type=kind, data=dict(data))
        headers = {**self._headers, subjects.HEADER_EXPECTED_SUBJECT_SEQUENCE: str(self._stream_sequence)}
        try:
            self._stream_sequence = await self._store(
                subjects.answers(query_id), event, f"{sequence}:{self._delivery}", headers
            )
        except StreamMoved:
            raise TakenOver(f"another delivery of question {query_id} is at work") from None
        self._sequence = sequence
        if kind == "delta":
            self._note_delta()
            if self._turn is not None:
                self._turn.spoke()

    async def send_text(self, text: str) -> None:
        """Publish the next piece of the answer's text, less what the caller has read before."""
        self._text += text
        if not self._to_repeat:
            await self.send("delta", {"text": text})
            return
        if self._to_repeat.startswith(self._text):
            return
        said, self._to_repeat = self._to_repeat, ""
        if self._text.startswith(said):
            await self.send("delta", {"text": self._text[len(said) :]})
            return
        await self.send("step", RESTARTED)
        await self.send("delta", {"text": self._text})

    async def take_back(self) -> None:
        """Say that the text so far no longer counts, if there is any."""
        read = bool(self._text or self._to_repeat)
        self._text, self._to_repeat = "", ""
        if read:
            await self.send("step", RESTARTED)

    async def end_text(self) -> None:
        """Say that the text is complete: one that is shorter than what the caller has read takes its place.

        What is left to do gives way to answers that have not begun to speak (`first_words.py`).
        """
        said, self._to_repeat = self._to_repeat, ""
        if said and self._text != said:
            await self.send("step", RESTARTED)
            await self.send("delta", {"text": self._text})
        if self._turn is not None:
            await self._turn.end()

    def waiting_for_model(self) -> AbstractContextManager[None]:
        """Let others pass while the block runs: the next words are up to the language model."""
        return self._turn.waiting_for_model() if self._turn is not None else nullcontext()

    async def accept(self) -> None:
        """Say, once, that the question is being answered, and where it looks."""
        await self.send("accepted", self._acceptance)

    async def send_body(self, retrieval: Mapping[str, Any], answer: Answer) -> None:
        """Publish the passages and the text of an answer that is complete already."""
        await self.send("retrieval", retrieval)
        await self.send_text(answer.answer)
        await self.end_text()

    async def send_citations(self, answer: Answer) -> None:
        """Publish where the claims come from."""
        await self.send("citations", _citations_of(answer))

    async def send_done(self, answer: Answer) -> None:
        """Publish the whole answer, behind which there is nothing."""
        await self.send("done", answer.model_dump())

    async def send_known(self, retrieval: Mapping[str, Any], answer: Answer) -> None:
        """Publish all events of an answer that is complete already: in one go, unless some were told before."""
        if self._told.events or self._store_together is None:
            await self.accept()
            await self.send_body(retrieval, answer)
            await self.send_citations(answer)
            await self.send_done(answer)
            return
        kinds: list[tuple[AnswerEventType, Mapping[str, Any]]] = [
            ("accepted", self._acceptance),
            ("retrieval", retrieval),
            ("delta", {"text": answer.answer}),
            ("citations", _citations_of(answer)),
            ("done", answer.model_dump()),
        ]
        # What was told before the answer was known is `accepted` alone.
        kinds = kinds[self._sequence :]
        query_id = self._question.query_id
        messages = [
            AnswerEvent(query_id=query_id, sequence=self._sequence + place, type=kind, data=dict(data))
            for place, (kind, data) in enumerate(kinds, 1)
        ]
        headers = {**self._headers, subjects.HEADER_EXPECTED_SUBJECT_SEQUENCE: str(self._stream_sequence)}
        try:
            stored = await self._store_together(
                subjects.answers(query_id), messages, tenant=self._question.tenant, headers=headers
            )
        except StreamMoved:
            raise TakenOver(f"another delivery of question {query_id} is at work") from None
        self._sequence, self._stream_sequence = messages[-1].sequence, stored.sequence
        self._note_delta()

    def _note_delta(self) -> None:
        if not self._has_delta:
            self._has_delta = True
            self._first_delta()

    @property
    def _acceptance(self) -> Mapping[str, Any]:
        return {"collection": self._question.collection}

    def _was_told(self, kind: AnswerEventType, data: Mapping[str, Any]) -> bool:
        if kind == "accepted":
            return self._sequence > 0
        if kind == "step" and "n" in data:
            wanted = _what_was_done(data)
            return any(event.type == kind and _what_was_done(event.data) == wanted for event in self._told.events)
        hits = data.get("hits")
        return kind == "retrieval" and any(
            event.type == kind and event.data.get("hits") == hits for event in self._told.events
        )

    async def announce(self, fact: QueryAnswered | QueryFailed) -> None:
        """Publish the fact that the question was answered or failed."""
        subject = SUBJECT_OF_FACT[type(fact)]
        await self._store(subject, fact, subject.rpartition(".")[2], self._headers)

    async def _store(self, subject: str, message: Message, part: str, headers: Mapping[str, str]) -> int:
        stored = await self._publish(
            subject,
            message,
            tenant=self._question.tenant,
            message_id=f"{self._question.query_id}:{part}",
            headers=headers,
        )
        return stored.sequence


def _look_at_failure(storing: "asyncio.Task[None]") -> None:
    """Whoever sent the event may have been cancelled; a failure that nobody takes is logged by the event loop."""
    if not storing.cancelled():
        storing.exception()


def _citations_of(answer: Answer) -> Mapping[str, Any]:
    return {"citations": [citation.model_dump() for citation in answer.citations]}
