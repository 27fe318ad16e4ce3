"""The events of one answer, numbered from 1 in the order they are sent.

accepted  {}
retrieval {"hits": [{"document_id", "chunk_id", "title", "score"}], "took_ms": {…}}
delta     {"text"}
step      {"kind": "restarted"}: the text so far no longer counts, the answer begins anew
          {"n", "kind": "llm", "result", "duration_ms"}: the model asked for tools
          {"n", "kind": "tool", "tool", "arguments", "result", "failed", "duration_ms"}: a tool was called
          {"n", "kind": "budget", "budget", "result"}: no more tools, as this budget is spent
citations {"citations": [Citation…]}
done      Answer
error     ErrorReply, instead of whatever has not been sent yet
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from contracts import subjects
from contracts.facts import SUBJECT_OF_FACT, QueryAnswered, QueryFailed
from contracts.messages import Message
from contracts.queries import AnswerEvent, AnswerEventType, AskQuestion
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


@dataclass(frozen=True, slots=True)
class Told:
    """What an earlier delivery of a question has told its caller, and where the last event stands in the stream."""

    events: tuple[AnswerEvent, ...] = ()
    stream_sequence: int = 0

    @property
    def end(self) -> AnswerEvent | None:
        """Return the event that ended the answer, if one did."""
        return self.events[-1] if self.events and self.events[-1].terminal else None

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
    got to; its text is gone on with when the new one begins the same way.
    """

    def __init__(
        self, publish: Publish, question: AskQuestion, headers: Mapping[str, str], told: Told | None = None
    ) -> None:
        self._publish = publish
        self._question = question
        self._headers = headers
        self._told = told or Told()
        self._sequence = len(self._told.events)
        self._stream_sequence = self._told.stream_sequence
        self._text, self._to_repeat = "", self._told.text
        # Without it another delivery's event of the same number would be taken for this one's.
        self._delivery = secrets.token_hex(4)

    @property
    def correlation_id(self) -> str:
        """Return what all work for the question shares."""
        return self._headers.get(subjects.HEADER_CORRELATION_ID, "")

    async def send(self, kind: AnswerEventType, data: Mapping[str, Any] | None = None) -> None:
        """Publish the next event; that a question was accepted, and what was found, is told once."""
        if self._was_told(kind, data or {}):
            return
        self._sequence += 1
        query_id = self._question.query_id
        event = AnswerEvent(query_id=query_id, sequence=self._sequence, type=kind, data=dict(data or {}))
        headers = {**self._headers, subjects.HEADER_EXPECTED_SUBJECT_SEQUENCE: str(self._stream_sequence)}
        try:
            self._stream_sequence = await self._store(
                subjects.answers(query_id), event, f"{self._sequence}:{self._delivery}", headers
            )
        except StreamMoved:
            raise TakenOver(f"another delivery of question {query_id} is at work") from None

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
        """Say that the text is complete: one that is shorter than what the caller has read takes its place."""
        said, self._to_repeat = self._to_repeat, ""
        if said and self._text != said:
            await self.send("step", RESTARTED)
            await self.send("delta", {"text": self._text})

    def _was_told(self, kind: AnswerEventType, data: Mapping[str, Any]) -> bool:
        if kind == "accepted":
            return bool(self._told.events)
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
