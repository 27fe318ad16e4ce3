"""A retriever and an embedder of a few lines, and the streams that answers go to: fakes that behave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from contracts import subjects
from contracts.messages import Message
from contracts.queries import AnswerEvent, AskQuestion
from contracts.retrieval import (
    EmbedReply,
    EmbedRequest,
    EpochReply,
    EpochRequest,
    RetrievedChunk,
    RetrieveReply,
    RetrieveRequest,
)
from services.agent.conversation import ConversationLimits, Conversations
from services.agent.coverage import words_of
from services.agent.events import Publish, Told
from services.agent.patience import Ask
from services.agent.rewriting import Rewriter, RuleRewriter
from shared.errors import StreamMoved

A = TypeVar("A", bound=Message)

DIMENSION = 512
MODEL = "words-in-buckets@1"

TEXTS = {
    "harbour": "The harbour of Lindby opened in 1887. Its lighthouse was built by Greta Holm, an engineer from Ystad.",
    "bakery": "Bread leaves the oven at five. The bakery of Lindby closes on Mondays. Rye is the most popular loaf.",
    "museum": "# Museum of Lindby\n\nThe museum shows nets and boats. What does a ticket cost?\nAdults pay 7 crowns.",
}


def chunk_of(document_id: str, text: str, similarity: float | None = 0.5, **fields: Any) -> RetrievedChunk:
    return RetrievedChunk(
        document_id=document_id,
        chunk_id=f"{document_id}-0",
        collection="default",
        revision=1,
        ordinal=0,
        text=text,
        score=similarity or 0.0,
        similarity=similarity,
        **fields,
    )


def vector_of(text: str) -> NDArray[np.float32]:
    """Return a unit vector with one bucket per word, so that texts with the same words are close."""
    counts = np.zeros(DIMENSION, dtype=np.float32)
    for word in words_of(text):
        counts[crc32(word.encode()) % DIMENSION] += 1
    unit: NDArray[np.float32] = counts / max(float(np.linalg.norm(counts)), 1e-9)
    return unit


class Library:
    """Answers what retriever and embedder answer; `failures` are raised once each, in order, before it works."""

    def __init__(self, texts: Mapping[str, str] = TEXTS, model: str = MODEL) -> None:
        self.texts = texts
        self.model = model
        self.failures: list[Exception] = []
        self.requests: list[Message] = []
        self.deadlines: list[float | None] = []
        self.epoch = 0

    async def __call__(self, subject: str, request: Message, reply: type[A], *, deadline: float | None = None) -> A:
        self.requests.append(request)
        self.deadlines.append(deadline)
        if self.failures:
            raise self.failures.pop(0)
        if isinstance(request, EpochRequest):
            found: Message = await self.tell_epoch(request)
        else:
            found = await (self.retrieve(request) if isinstance(request, RetrieveRequest) else self.embed(request))
        assert isinstance(found, reply)
        return found

    async def tell_epoch(self, request: Message, _deadline: float | None = None) -> EpochReply:
        return EpochReply(epoch=str(self.epoch))

    async def retrieve(self, request: Message, _deadline: float | None = None) -> RetrieveReply:
        assert isinstance(request, RetrieveRequest)
        query = vector_of(request.query)
        hits = [
            chunk_of(
                name, text, float(vector_of(text) @ query), title=name.title(), uri=f"https://lindby.example/{name}"
            )
            for name, text in self.texts.items()
        ]
        hits.sort(key=lambda hit: -hit.score)
        return RetrieveReply(hits=hits[: request.top_k], took_ms={"index": 1.0}, model=self.model)

    async def embed(self, request: Message, _deadline: float | None = None) -> EmbedReply:
        assert isinstance(request, EmbedRequest)
        vectors = [vector_of(text).tobytes() for text in request.texts]
        return EmbedReply(model=self.model, dimension=DIMENSION, vectors=vectors)


@dataclass(frozen=True)
class StoredAt:
    sequence: int


class Streams:
    """Keeps what is published, once per message id; `failure` is raised instead while it is set."""

    def __init__(self) -> None:
        self.stored: dict[str, tuple[str, Message, str]] = {}
        self.failure: Exception | None = None
        self.batches = 0

    async def publish(
        self, subject: str, message: Message, *, tenant: str, message_id: str, headers: Mapping[str, str] | None = None
    ) -> "StoredAt":
        if self.failure is not None:
            raise self.failure
        identity = f"{subject} {message_id}"
        expected = (headers or {}).get(subjects.HEADER_EXPECTED_SUBJECT_SEQUENCE)
        if identity not in self.stored:
            if expected is not None and int(expected) != self.last_of(subject):
                raise StreamMoved("another event came first")
            self.stored[identity] = (subject, message, tenant)
        return StoredAt(list(self.stored).index(identity) + 1)

    def last_of(self, subject: str) -> int:
        """Return the place of a subject's last message, 0 without any."""
        places = [place for place, (at, _, _) in enumerate(self.stored.values(), 1) if at == subject]
        return places[-1] if places else 0

    async def publish_together(
        self, subject: str, messages: Sequence[Message], *, tenant: str, headers: Mapping[str, str]
    ) -> "StoredAt":
        expected = headers.get(subjects.HEADER_EXPECTED_SUBJECT_SEQUENCE)
        if expected is not None and int(expected) != self.last_of(subject):
            raise StreamMoved("another event came first")
        self.batches += 1
        for message in messages:
            self.stored[f"{subject} batch {self.batches} {len(self.stored)}"] = (subject, message, tenant)
        return StoredAt(len(self.stored))

    async def recall(self, query_id: str) -> Told:
        return Told(tuple(self.events(query_id)), self.last_of(subjects.answers(query_id)))

    def events(self, query_id: str = "q1") -> list[AnswerEvent]:
        wanted = subjects.answers(query_id)
        found = [message for subject, message, _ in self.stored.values() if subject == wanted]
        return [message for message in found if isinstance(message, AnswerEvent)]

    def facts(self, subject: str) -> list[Message]:
        return [message for at, message, _ in self.stored.values() if at == subject]


async def publish_nothing(*_arguments: Any, **_fields: Any) -> StoredAt:
    raise AssertionError("nothing is published here")


def conversations_of(
    ask: Ask, publish: Publish = publish_nothing, rewriter: Rewriter | None = None, *, turn_bytes: int = 100_000
) -> Conversations:
    limits = ConversationLimits(turns=8, turn_bytes=turn_bytes, record_seconds=1.0)
    return Conversations(ask, publish, rewriter or RuleRewriter(), limits)


def question_of(text: str, **fields: Any) -> AskQuestion:
    return AskQuestion(**{"tenant": "acme", "query_id": "q1", "question": text, **fields})
