"""Embeddings from any server that speaks OpenAI's `/v1/embeddings`."""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import openai
import orjson
from numpy.typing import NDArray
from opentelemetry.trace import Tracer
from pydantic import SecretStr

from services.embedder.embedding import (
    EmbeddingRefused,
    EmbeddingUnavailable,
    InvalidAnswer,
    InvalidVector,
    Overloaded,
    Vectors,
    unit_vectors,
    until,
)
from shared.errors import Misconfigured
from shared.openai_http import traced_http
from shared.openai_words import without_key
from shared.settings import EmbeddingModel
from shared.tls import tls_trouble

# The statuses that speak about the texts; any other failure is the server's or the operator's and may pass.
_REFUSALS: Final = frozenset({400, 413, 422})
# English has about 4.5 bytes a token and Chinese 3, so that an estimate is rarely below what the server counts.
_BYTES_PER_TOKEN: Final = 3
_MAX_RETRY_AFTER_SECONDS: Final = 60.0
_MAX_REASON_CHARACTERS: Final = 300
# The limit of OpenAI's own embedding models, see the API reference of /v1/embeddings.
_MAX_TOKENS: Final = 8192


@dataclass(frozen=True, slots=True)
class RemoteTLS:
    """Who has signed the endpoint's certificate (None = public authorities), and how the settings of it begin."""

    trust: ssl.SSLContext | None = None
    settings: str = "RAG_EMBEDDING_TLS"


class OpenAIEmbedding:
    """An `Embedder` over HTTP: batches of at most `max_batch_texts` texts and about `max_batch_tokens` tokens.

    `bulk_requests` bounds the bulk batches in flight, beyond it callers wait; interactive batches never wait for
    them, and beyond `interactive_requests` in flight raise Overloaded. Nothing is tried twice here. A 400, 413 or 422
    raises EmbeddingRefused; a timeout, a lost connection and every other status EmbeddingUnavailable, what is not the
    model's vectors InvalidAnswer.
    `request_dimension` asks the server for vectors of `dimension`, for models that can shorten theirs.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        model: str,
        dimension: int,
        fingerprint: str,
        max_tokens: int = _MAX_TOKENS,
        query_prefix: str = "",
        passage_prefix: str = "",
        request_dimension: bool = False,
        max_batch_texts: int = 64,
        max_batch_tokens: int = 16_384,
        bulk_requests: int = 4,
        interactive_requests: int = 32,
        timeout_seconds: float = 30.0,
        clock: Callable[[], float] = time.time,
        tls: RemoteTLS | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.dimension, self.fingerprint, self.max_tokens = dimension, fingerprint, max_tokens
        self._model, self._clock = model, clock
        self._query_prefix, self._passage_prefix = query_prefix, passage_prefix
        self._dimensions = dimension if request_dimension else openai.omit
        self._max_batch_texts, self._max_batch_tokens = max_batch_texts, max_batch_tokens
        self._bulk, self._interactive = asyncio.Semaphore(bulk_requests), asyncio.Semaphore(interactive_requests)
        self._timeout_seconds = timeout_seconds
        self._closed = False
        self._tls = tls or RemoteTLS()
        # One layer owns retries: the message's redelivery. The client wants a key even where the server wants none.
        http = traced_http(tracer, self._tls.trust)
        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key=api_key or "none", max_retries=0, timeout=timeout_seconds, http_client=http
        )

    @classmethod
    def connect(
        cls,
        model: EmbeddingModel,
        api_key: SecretStr | None,
        *,
        timeout_seconds: float,
        tls: RemoteTLS | None = None,
        tracer: Tracer | None = None,
    ) -> Self:
        """Return the embedder of a remote model; no connection is made before the first request."""
        if not model.url:
            raise Misconfigured("no remote embedding endpoint is set: set RAG_EMBEDDING_URL")
        return cls(
            base_url=model.url,
            api_key=api_key.get_secret_value() if api_key else "",
            model=model.name,
            dimension=model.dimension,
            fingerprint=model.fingerprint,
            timeout_seconds=timeout_seconds,
            tls=tls,
            tracer=tracer,
        )

    async def embed_passages(
        self, texts: Sequence[str], *, deadline: float | None = None, interactive: bool = False
    ) -> Vectors:
        """Return one vector per passage; see `Embedder`."""
        lane = self._interactive if interactive else self._bulk
        return await self._embed(lane, [self._passage_prefix + text for text in texts], deadline)

    async def embed_queries(self, texts: Sequence[str], *, deadline: float | None = None) -> Vectors:
        """Return one vector per query; see `Embedder`."""
        return await self._embed(self._interactive, [self._query_prefix + text for text in texts], deadline)

    async def close(self) -> None:
        """Close the connections; requests in flight and batches that wait raise EmbeddingUnavailable."""
        self._closed = True
        await self._client.close()

    async def _embed(self, lane: asyncio.Semaphore, prepared: list[str], deadline: float | None) -> Vectors:
        vectors: Vectors = np.empty((len(prepared), self.dimension), np.float32)

        async def fill(rows: list[int]) -> None:
            vectors[rows] = await self._embed_batch(lane, [prepared[row] for row in rows])

        async with until(deadline, self._clock):
            batches = _batches(prepared, self._max_batch_texts, self._max_batch_tokens)
            tasks = [asyncio.create_task(fill(rows)) for rows in batches]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
        return vectors

    async def _embed_batch(self, lane: asyncio.Semaphore, batch: list[str]) -> Vectors:
        if lane is self._interactive and lane.locked():
            raise Overloaded("every interactive request to the embedding server is taken; try again")
        async with lane:
            if self._closed:
                raise EmbeddingUnavailable("the embedder is shutting down; send the texts again later")
            content = await self._post(batch)
        try:
            return unit_vectors(_parse(content), (len(batch), self.dimension))
        except InvalidVector as error:
            raise InvalidAnswer(f"the embedding server's answer is wrong: {error}") from None

    async def _post(self, batch: list[str]) -> bytes:
        try:
            # The client's timeout is for each read; a server that trickles would hold the request for ever.
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._client.embeddings.with_raw_response.create(
                    input=batch, model=self._model, encoding_format="float", dimensions=self._dimensions
                )
        except openai.APIStatusError as error:
            raise _status_error(error) from error
        except TimeoutError as error:
            raise EmbeddingUnavailable(f"no answer from the server within {self._timeout_seconds} s") from error
        except openai.OpenAIError as error:
            # A connection that breaks off later may be what the text does to the server.
            away = type(error.__cause__).__name__ == "ConnectError"
            reason = tls_trouble(error, self._tls.settings) or error
            raise EmbeddingUnavailable(f"the embedding server cannot be reached: {reason}", away=away) from error
        return response.content


def _batches(texts: list[str], max_texts: int, max_tokens: int) -> Iterator[list[int]]:
    """Yield the rows of each batch, texts of like length together, because servers pad a batch to its longest."""
    batch: list[int] = []
    tokens = 0
    for row in sorted(range(len(texts)), key=lambda row: -len(texts[row])):
        cost = len(texts[row].encode()) // _BYTES_PER_TOKEN + 1
        if batch and (len(batch) == max_texts or tokens + cost > max_tokens):
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += cost
    if batch:
        yield batch


def _parse(content: bytes) -> NDArray[Any]:
    # The client's own models take 140 ms of the event loop for 64 vectors of 1,536 numbers, this takes 7.
    try:
        items = sorted(orjson.loads(content)["data"], key=lambda item: item["index"])
        return np.array([item["embedding"] for item in items], dtype=np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidAnswer("the embedding server answered something else than a list of vectors") from error


def _status_error(error: openai.APIStatusError) -> EmbeddingRefused | EmbeddingUnavailable:
    reason = f"the embedding server answered {error.status_code}: {without_key(error)[:_MAX_REASON_CHARACTERS]}"
    if error.status_code in _REFUSALS:
        return EmbeddingRefused(reason).quoting()
    seconds = _retry_after_seconds(error.response.headers)
    return EmbeddingUnavailable(reason, retry_after_seconds=seconds).quoting()


def _retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return min(float(value), _MAX_RETRY_AFTER_SECONDS) if value.isdecimal() else None
