"""The events of one answer, numbered from 1 in the order they are sent.

accepted  {}
retrieval {"hits": [{"document_id", "chunk_id", "title", "score"}], "took_ms": {…}}
delta     {"text"}
citations {"citations": [Citation…]}
done      Answer
error     ErrorReply, instead of whatever has not been sent yet
"""

from collections.abc import Mapping
from typing import Any, Protocol

from contracts import subjects
from contracts.facts import SUBJECT_OF_FACT, QueryAnswered, QueryFailed
from contracts.messages import Message
from contracts.queries import AnswerEvent, AnswerEventType, AskQuestion


class Publish(Protocol):
    """Stores a message once under its id, however often it is published."""

    async def __call__(
        self, subject: str, message: Message, *, tenant: str, message_id: str, headers: Mapping[str, str] | None = None
    ) -> object:
        """Publish and return once the message is stored."""
        ...


class AnswerEvents:
    """Sends the events of one question's answer, and the fact that ends it.

    Ids follow from question and number, so that a question which is delivered twice tells its caller once.
    """

    def __init__(self, publish: Publish, question: AskQuestion, headers: Mapping[str, str]) -> None:
        self._publish = publish
        self._question = question
        self._headers = headers
        self._sequence = 0

    async def send(self, kind: AnswerEventType, data: Mapping[str, Any] | None = None) -> None:
        """Publish the next event."""
        self._sequence += 1
        query_id = self._question.query_id
        event = AnswerEvent(query_id=query_id, sequence=self._sequence, type=kind, data=dict(data or {}))
        await self._store(subjects.answers(query_id), event, str(self._sequence))

    async def announce(self, fact: QueryAnswered | QueryFailed) -> None:
        """Publish the fact that the question was answered or failed."""
        subject = SUBJECT_OF_FACT[type(fact)]
        await self._store(subject, fact, subject.rpartition(".")[2])

    async def _store(self, subject: str, message: Message, part: str) -> None:
        await self._publish(
            subject,
            message,
            tenant=self._question.tenant,
            message_id=f"{self._question.query_id}:{part}",
            headers=self._headers,
        )
