"""The events of one answer, numbered from 1 in the order they are sent.

accepted  {"collection": the one that was asked for, null = all}
retrieval {"hits": [{"document_id", "chunk_id", "title", "score"}], "took_ms": {…}}
delta     {"text"}
step      {"kind": "restarted"}: the text so far no longer counts, the answer begins anew
citations {"citations": [Citation…]}
done      Answer
error     ErrorReply, instead of whatever has not been sent yet
"""

import asyncio
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
        self._storing: asyncio.Task[None] | None = None

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

    async def end_text(self) -> None:
        """Say that the text is complete: one that is shorter than what the caller has read takes its place."""
        said, self._to_repeat = self._to_repeat, ""
        if said and self._text != said:
            await self.send("step", RESTARTED)
            await self.send("delta", {"text": self._text})

    def _was_told(self, kind: AnswerEventType, data: Mapping[str, Any]) -> bool:
        if kind == "accepted":
            return bool(self._told.events)
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
