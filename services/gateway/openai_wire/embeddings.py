"""Vectors for callers of OpenAI's wire format.

A request is cut into slices, and of all requests together only a few slices are at the embedder at a time, in turns:
so a question's vector never waits behind more than those, and a small request passes a large one.
"""

import asyncio
import base64
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, Protocol, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts import subjects
from contracts.messages import Message
from contracts.retrieval import EmbedReply, EmbedRequest
from services.gateway.openai_wire.models import DEFAULT_EMBEDDING, no_model
from services.gateway.openai_wire.schemas import EmbeddingsBody
from services.gateway.seats import Seats
from shared.errors import DeadlineExpired, InvalidMessage, Unavailable

A = TypeVar("A", bound=Message)

# About what a model reads of one text: a slice keeps a question's vector waiting no longer than a single long text.
MAX_SLICE_CHARACTERS: Final = 2_048
# English has about four bytes to a token.
BYTES_PER_TOKEN: Final = 4
KNOWN_SECONDS: Final = 30.0
FORGET_SECONDS: Final = 1.0


class Ask(Protocol):
    """Sends a request and returns its reply; raises shared.errors, `deadline` is unix seconds."""

    async def __call__(self, subject: str, request: Message, reply: type[A], *, deadline: float | None = None) -> A:
        """Return the reply."""
        ...


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """The model that the embedder runs."""

    fingerprint: str
    dimension: int

    @property
    def name(self) -> str:
        """Return the model's own name."""
        return self.fingerprint.rpartition("@")[0]


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of a request's texts: raw little-endian float32, in their order."""

    body: EmbeddingsBody
    model: EmbeddingModel
    vectors: Sequence[bytes]

    def as_json(self) -> bytes:
        """Return them as OpenAI's API gives them."""
        encode = _as_base64 if self.body.encoding_format == "base64" else _as_numbers
        tokens = sum(ceil(len(text.encode()) / BYTES_PER_TOKEN) for text in self.body.input)
        found = [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(self.vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "data": found, "model": self.model.name, "usage": usage}
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


class Embeddings:
    """Embeds texts; `slice_texts` of one request at a time, `slices` of all requests."""

    def __init__(
        self,
        ask: Ask,
        seats: Seats,
        *,
        slice_texts: int,
        slices: int,
        timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._seats = seats
        self._slice_texts = slice_texts
        self._turns = asyncio.Semaphore(slices)
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._known: tuple[EmbeddingModel, float] | None = None

    async def embed(self, body: EmbeddingsBody) -> "Embedded":
        """Return the vectors of texts; raises NotFound, InvalidMessage and what the embedder raises."""
        deadline = time.time() + self._timeout_seconds
        with self._seats.taken():
            model = await self._wanted(body)
            return Embedded(body, model, await self._vectors(body, model, deadline))

    async def model(self, *, younger_than_seconds: float = KNOWN_SECONDS) -> EmbeddingModel:
        """Return the model that the embedder runs; raises what the embedder raises."""
        now = self._clock()
        if self._known is not None and now - self._known[1] < younger_than_seconds:
            return self._known[0]
        request = EmbedRequest(texts=["model"], kind="passage")
        reply = await self._ask(subjects.EMBED_QUERY, request, EmbedReply)
        found = EmbeddingModel(reply.model, reply.dimension)
        self._known = found, now
        return found

    async def named(self, name: str) -> EmbeddingModel:
        """Return the model if that is its name; else NotFound."""
        model = await self.model()
        if name not in (DEFAULT_EMBEDDING, model.name):
            # The name may be that of a model which has just taken over.
            model = await self.model(younger_than_seconds=FORGET_SECONDS)
        if name not in (DEFAULT_EMBEDDING, model.name):
            raise no_model(name)
        return model

    async def _wanted(self, body: EmbeddingsBody) -> EmbeddingModel:
        model = await self.named(body.model)
        if body.dimensions not in (None, model.dimension):
            raise InvalidMessage(
                f"{model.name} has vectors of {model.dimension} dimensions and no others", field="dimensions"
            )
        return model

    async def _vectors(self, body: EmbeddingsBody, model: EmbeddingModel, deadline: float) -> list[bytes]:
        found: list[bytes] = []
        for texts in _slices(body.input, self._slice_texts):
            request = EmbedRequest(texts=texts, kind=body.input_type, model=model.fingerprint)
            try:
                found += await self._slice(request, deadline)
            except Unavailable as error:
                if error.error_code == "model_mismatch":
                    self._known = None
                raise
        return found

    async def _slice(self, request: EmbedRequest, deadline: float) -> list[bytes]:
        try:
            async with asyncio.timeout(deadline - time.time()):
                await self._turns.acquire()
        except TimeoutError:
            raise DeadlineExpired(
                f"the vectors were not made within {self._timeout_seconds:g} s; send fewer texts at once",
                code="embedding_timeout",
            ) from None
        try:
            return (await self._ask(subjects.EMBED_QUERY, request, EmbedReply, deadline=deadline)).vectors
        finally:
            self._turns.release()


def _slices(texts: Sequence[str], slice_texts: int) -> Iterator[list[str]]:
    """Yield the texts in order, so many at a time, fewer when they are long."""
    batch: list[str] = []
    room = MAX_SLICE_CHARACTERS
    for text in texts:
        if batch and (len(batch) == slice_texts or len(text) > room):
            yield batch
            batch, room = [], MAX_SLICE_CHARACTERS
        batch.append(text)
        room -= len(text)
    if batch:
        yield batch


def _as_base64(vector: bytes) -> str:
    return base64.b64encode(vector).decode()


def _as_numbers(vector: bytes) -> NDArray[np.float32]:
    return np.frombuffer(vector, dtype="<f4")
