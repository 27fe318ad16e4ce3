import asyncio
import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from services.embedder.embedding import (
    DeadlineExpired,
    EmbeddingRefused,
    EmbeddingUnavailable,
    InvalidAnswer,
    Overloaded,
    Vectors,
)
from services.embedder.openai_embedding import OpenAIEmbedding
from services.embedder.settings import EmbedderSettings

PATIENCE_SECONDS = 5
Answer = tuple[int, dict[str, str], bytes]


class EmbeddingServer:
    """A real HTTP server: `answer` decides what it says, `hold` makes every answer wait for `release`.

    With `trickle_seconds` the bytes of an answer come one by one, that far apart.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.arrived: queue.Queue[list[str]] = queue.Queue()
        self.answer: Callable[[dict[str, Any]], Answer] = embeddings_of
        self.released = threading.Event()
        self.released.set()
        self.trickle_seconds = 0.0
        self._closing = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                assert self.path == "/v1/embeddings"
                server.serve(self)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        request = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.requests.append(request)
        self.authorizations.append(handler.headers["Authorization"])
        self.arrived.put(request["input"])
        self.released.wait(PATIENCE_SECONDS)
        status, headers, body = self.answer(request)
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        with contextlib.suppress(ConnectionError):
            for part in [bytes([byte]) for byte in body] if self.trickle_seconds else [body]:
                handler.wfile.write(part)
                self._closing.wait(self.trickle_seconds)

    def hold(self) -> None:
        self.released.clear()

    def release(self) -> None:
        self.released.set()

    async def next_request(self) -> list[str]:
        return await asyncio.to_thread(self.arrived.get, timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self.release()
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()


def direction(text: str) -> list[float]:
    return [float(len(text)), 1.0, -2.0]


def unit_directions(*texts: str) -> Vectors:
    vectors = np.array([direction(text) for text in texts], np.float32)
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def embeddings_of(request: dict[str, Any]) -> Answer:
    """Answer out of order, as the format allows: `index` says which text a vector belongs to."""
    items = [
        {"object": "embedding", "index": index, "embedding": direction(text)}
        for index, text in enumerate(request["input"])
    ]
    return listing(items[::-1])


def listing(items: list[dict[str, Any]]) -> Answer:
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return 200, {}, json.dumps({"object": "list", "model": "m", "data": items, "usage": usage}).encode()


def always(status: int, body: str, **headers: str) -> Callable[[dict[str, Any]], Answer]:
    return lambda _: (status, headers, body.encode())


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    server = EmbeddingServer()
    yield server
    server.close()


@contextlib.asynccontextmanager
async def embedder_at(url: str, **settings: Any) -> AsyncIterator[OpenAIEmbedding]:
    defaults = {"api_key": "secret", "model": "m", "dimension": 3, "fingerprint": "m@remote.3"}
    embedder = OpenAIEmbedding(base_url=url, **{**defaults, **settings})
    try:
        yield embedder
    finally:
        await embedder.close()


async def test_vectors_are_float32_of_unit_length_in_the_order_of_the_texts(server: EmbeddingServer) -> None:
    texts = ["a", "", "ccc", "bb"]
    async with embedder_at(server.url) as embedder:
        vectors = await embedder.embed_passages(texts)
    assert vectors.dtype == np.float32
    assert (vectors == unit_directions(*texts)).all()
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-6)


async def test_a_request_names_the_model_asks_for_floats_and_carries_the_key(server: EmbeddingServer) -> None:
    async with embedder_at(server.url) as embedder:
        await embedder.embed_passages(["a"])
    assert server.requests == [{"input": ["a"], "model": "m", "encoding_format": "float"}]
    assert server.authorizations == ["Bearer secret"]


@pytest.mark.parametrize(("key", "authorization"), [("secret", "Bearer secret"), (None, "Bearer none")])
async def test_settings_name_the_endpoint_and_a_server_without_keys_needs_none(
    server: EmbeddingServer, key: str | None, authorization: str
) -> None:
    settings = EmbedderSettings(
        embedding_url=server.url,
        embedding_model="m",
        embedding_dimension=3,
        embedding_api_key=None if key is None else SecretStr(key),
    )
    embedder = OpenAIEmbedding.connect(settings.embedding, settings.embedding_api_key, timeout_seconds=5)
    assert (await embedder.embed_queries(["a"]) == unit_directions("a")).all()
    assert embedder.fingerprint == settings.embedding_fingerprint
    assert server.authorizations == [authorization]
    await embedder.close()


async def test_the_dimension_is_asked_for_only_when_told_to(server: EmbeddingServer) -> None:
    async with embedder_at(server.url, request_dimension=True) as embedder:
        await embedder.embed_passages(["a"])
    assert server.requests[0]["dimensions"] == 3


async def test_each_kind_of_text_carries_its_prefix(server: EmbeddingServer) -> None:
    async with embedder_at(server.url, query_prefix="query: ", passage_prefix="passage: ") as embedder:
        await embedder.embed_queries(["a"])
        await embedder.embed_passages(["b"])
        await embedder.embed_passages(["c"], interactive=True)
    assert [request["input"] for request in server.requests] == [["query: a"], ["passage: b"], ["passage: c"]]


@pytest.mark.parametrize(
    ("limits", "batches"),
    [
        ({"max_batch_texts": 2}, [["dddddd", "ccccc"], ["bbbb", "aaa"]]),
        ({"max_batch_tokens": 5}, [["dddddd", "ccccc"], ["bbbb", "aaa"]]),
        ({"max_batch_tokens": 1}, [["dddddd"], ["ccccc"], ["bbbb"], ["aaa"]]),
        ({}, [["dddddd", "ccccc", "bbbb", "aaa"]]),
    ],
)
async def test_batches_keep_to_texts_and_tokens_and_join_texts_of_like_length(
    server: EmbeddingServer, limits: dict[str, int], batches: list[list[str]]
) -> None:
    texts = ["bbbb", "dddddd", "aaa", "ccccc"]
    async with embedder_at(server.url, bulk_requests=1, **limits) as embedder:
        assert (await embedder.embed_passages(texts) == unit_directions(*texts)).all()
    assert [request["input"] for request in server.requests] == batches


async def test_no_texts_make_no_request(server: EmbeddingServer) -> None:
    async with embedder_at(server.url) as embedder:
        assert (await embedder.embed_passages([])).shape == (0, 3)
    assert server.requests == []


async def test_a_query_is_sent_at_once_while_bulk_keeps_to_its_bound(server: EmbeddingServer) -> None:
    """INVARIANT: interactive before bulk. One shared bound would keep the query back until a bulk batch is answered."""
    server.hold()
    async with embedder_at(server.url, bulk_requests=2, max_batch_texts=1) as embedder:
        bulk = asyncio.create_task(embedder.embed_passages(["b1", "b2", "b3"]))
        assert sorted([await server.next_request(), await server.next_request()]) == [["b1"], ["b2"]]
        query = asyncio.create_task(embedder.embed_queries(["question"]))
        assert await server.next_request() == ["question"]
        server.release()
        assert (await query).shape == (1, 3)
        assert (await bulk).shape == (3, 3)


async def test_queries_beyond_the_bound_are_refused(server: EmbeddingServer) -> None:
    server.hold()
    async with embedder_at(server.url, interactive_requests=1) as embedder:
        first = asyncio.create_task(embedder.embed_queries(["first"]))
        await server.next_request()
        with pytest.raises(Overloaded, match="every interactive request"):
            await embedder.embed_queries(["second"])
        server.release()
        await first
        assert (await embedder.embed_queries(["third"])).shape == (1, 3)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_status_about_the_texts_is_a_refusal(server: EmbeddingServer, status: int) -> None:
    server.answer = always(status, '{"error": {"message": "input is too long"}}')
    async with embedder_at(server.url) as embedder:
        with pytest.raises(EmbeddingRefused, match=f"answered {status}: .*input is too long"):
            await embedder.embed_passages(["a"])
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 408, 409, 429, 500, 502, 503])
async def test_any_other_status_may_pass_and_is_not_tried_again_here(server: EmbeddingServer, status: int) -> None:
    server.answer = always(status, '{"error": {"message": "not now"}}')
    async with embedder_at(server.url) as embedder:
        with pytest.raises(EmbeddingUnavailable, match=f"answered {status}: .*not now"):
            await embedder.embed_passages(["a"])
    assert len(server.requests) == 1


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("86400", 60.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 2.0)])
async def test_the_wait_a_server_asks_for_is_passed_on_within_a_bound(
    server: EmbeddingServer, header: str, seconds: float
) -> None:
    server.answer = always(429, "{}", **{"Retry-After": header})
    async with embedder_at(server.url) as embedder:
        with pytest.raises(EmbeddingUnavailable) as caught:
            await embedder.embed_passages(["a"])
    assert caught.value.retry_after_seconds == seconds


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    async with embedder_at(f"http://127.0.0.1:{port}/v1") as embedder:
        with pytest.raises(EmbeddingUnavailable, match="cannot be reached"):
            await embedder.embed_passages(["a"])


async def test_a_server_that_does_not_answer_in_time_is_unavailable(server: EmbeddingServer) -> None:
    server.hold()
    async with embedder_at(server.url, timeout_seconds=0.1) as embedder:
        with pytest.raises(EmbeddingUnavailable, match=r"0\.1 s|timed out"):
            await embedder.embed_passages(["a"])


async def test_a_server_that_trickles_its_answer_is_cut_off_in_time(server: EmbeddingServer) -> None:
    server.trickle_seconds = 0.05
    async with embedder_at(server.url, timeout_seconds=0.2) as embedder:
        with pytest.raises(EmbeddingUnavailable, match=r"within 0\.2 s"):
            await embedder.embed_passages(["a"])


async def test_the_deadline_ends_the_wait_before_the_timeout_does(server: EmbeddingServer) -> None:
    server.hold()
    async with embedder_at(server.url) as embedder:
        with pytest.raises(DeadlineExpired):
            await embedder.embed_queries(["a"], deadline=time.time() + 0.1)
        with pytest.raises(DeadlineExpired):
            await embedder.embed_queries(["b"], deadline=time.time() - 1)
        server.release()
        assert (await embedder.embed_passages(["c"])).shape == (1, 3)
    assert ["b"] not in [request["input"] for request in server.requests]


@pytest.mark.parametrize(
    ("body", "error", "reason"),
    [
        ("<html>please log in</html>", InvalidAnswer, "something else than a list of vectors"),
        ('{"data": [{"index": 0}]}', InvalidAnswer, "something else than a list of vectors"),
        ('{"data": [{"index": 0, "embedding": "AACAPw=="}]}', InvalidAnswer, "something else than a list"),
        ('{"data": []}', InvalidAnswer, r"expected \(1, 3\)"),
        ('{"data": [{"index": 0, "embedding": [1.0, 2.0]}]}', InvalidAnswer, r"\(1, 2\), expected \(1, 3\)"),
        ('{"data": [{"index": 0, "embedding": [0, 0, 0]}]}', InvalidAnswer, "zeros"),
        ('{"data": [{"index": 0, "embedding": [1e39, 0, 0]}]}', InvalidAnswer, "infinity"),
    ],
)
async def test_an_answer_that_holds_no_vectors_of_the_model_is_an_error(
    server: EmbeddingServer, body: str, error: type[Exception], reason: str
) -> None:
    server.answer = always(200, body)
    async with embedder_at(server.url) as embedder:
        with pytest.raises(error, match=reason):
            await embedder.embed_passages(["a"])


async def test_a_failing_batch_ends_its_own_call_and_no_other(server: EmbeddingServer) -> None:
    server.answer = lambda request: (
        (400, {}, b'{"error": {"message": "no"}}') if "the bad one" in request["input"] else embeddings_of(request)
    )
    async with embedder_at(server.url, max_batch_texts=1, bulk_requests=1) as embedder:
        bad, good = await asyncio.gather(
            embedder.embed_passages(["the bad one", "next", "3rd", "no"]),
            embedder.embed_passages(["good"]),
            return_exceptions=True,
        )
    assert isinstance(bad, EmbeddingRefused)
    assert isinstance(good, np.ndarray)
    assert ["no"] not in [request["input"] for request in server.requests]


async def test_close_fails_what_is_in_flight_and_what_waits(server: EmbeddingServer) -> None:
    server.hold()
    async with embedder_at(server.url, bulk_requests=1) as embedder:
        calls = [asyncio.create_task(embedder.embed_passages([text])) for text in ("sent", "waiting")]
        await server.next_request()
        await embedder.close()
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE_SECONDS)
    assert [type(outcome) for outcome in outcomes] == [EmbeddingUnavailable] * 2
    assert len(server.requests) == 1
