"""What the platform speaks to, and how its services connect to it.

`Peer` is a server that speaks no TLS itself (`tests/tls_proxy.py` stands before it); each `attempt` connects as the
service does and returns None, or the words in which it tells what is wrong.
"""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.metrics import NoOpMeter, NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider
from sqlalchemy.engine import make_url

from services.agent.llm import ChatMessage, ChatRequest, LlmUnavailable
from services.agent.metrics import AgentMetrics
from services.agent.models import language_model
from services.agent.settings import AgentSettings
from services.embedder.app import build_embedder, build_next_embedder
from services.embedder.embedding import Embedder, EmbeddingUnavailable
from services.embedder.settings import EmbedderSettings
from services.gateway.jwks import Jwks
from services.gateway.settings import GatewaySettings
from services.gateway.throttled_counts import build_counts
from services.persistence.database import open_database
from services.persistence.migrating import migrate
from services.persistence.settings import PersistenceSettings
from services.retriever.index import IndexUnavailable
from services.retriever.opening import open_indexes
from services.retriever.settings import RetrieverSettings
from shared.caching.building import build_cache
from shared.caching.metrics import CacheMetrics
from shared.caching.settings import CacheSettings
from shared.errors import Misconfigured, Unavailable
from shared.settings import PlatformSettings
from shared.span_export import SpanExport
from tests.captured_logs import captured_lines, lines_of
from tests.certificates import Certificate
from tests.hashing_server import DIMENSION, MODEL, hashing_server
from tests.integration.persistence_database import settings_of
from tests.oidc_issuer import Issuer, oidc_issuer
from tests.redis_server import redis_server
from tests.scripted_llm import Reply, scripted_llm

TRACER: Final = NoOpTracerProvider().get_tracer("test")
METER: Final = NoOpMeterProvider().get_meter("test")
QUESTION: Final = ChatRequest((ChatMessage("user", "Hello?"),), max_output_tokens=5)
OLD_QDRANT: Final = "0.1.0"
# A handshake may take its time beside other tests; what is refused is refused at once.
REDIS: Final[dict[str, Any]] = {"redis_timeout_seconds": 5.0, "redis_retry_seconds": 60.0}


@dataclass(frozen=True)
class Files:
    """What a test has the settings name."""

    ca: Path | None = None
    own: Certificate | None = None

    def named(self, prefix: str) -> dict[str, Any]:
        """Return the settings of a prefix."""
        own = self.own
        found = {"ca": self.ca, "cert": own and own.cert, "key": own and own.key}
        return {f"{prefix}_{part}": path for part, path in found.items() if path is not None}


Attempt = Callable[[int, Files], Awaitable[str | None]]


@dataclass(frozen=True)
class Peer:
    """A server behind TLS: how it is tried, and what its settings begin with."""

    port: int
    attempt: Attempt
    settings: str
    asks_first: bool = False


async def try_cache(port: int, files: Files) -> str | None:
    settings = CacheSettings(redis_url=f"rediss://127.0.0.1:{port}/0", **files.named("redis_tls"), **REDIS)
    cache = build_cache(settings, CacheMetrics(METER))
    try:
        await cache.set("key", b"value", 60)
        found, told = await cache.get("key"), await cache.describe()
    finally:
        await cache.close()
    assert (found == b"value") == (told["state"] == "ok")
    return None if found else str(told.get("reason"))


async def try_rates(port: int, files: Files) -> str | None:
    settings = GatewaySettings(redis_url=f"rediss://127.0.0.1:{port}/0", **files.named("redis_tls"), **REDIS)
    counts = build_counts(settings)
    with captured_lines("test") as lines:
        try:
            for _ in range(3):
                await counts.take("key", "caller", 1_000)
        finally:
            await counts.close()
    told = [line["error"] for line in lines_of(lines) if line["event"] == "rates_not_shared"]
    return told[0] if told else None


async def try_qdrant(port: int, files: Files) -> str | None:
    settings = RetrieverSettings(qdrant_url=f"https://127.0.0.1:{port}", **files.named("qdrant_tls"))
    with pytest.raises((IndexUnavailable, Misconfigured)) as caught:
        await open_indexes(settings)
    # What the stand-in says over TLS has arrived and been understood: it is too old.
    return None if OLD_QDRANT in caught.value.message else caught.value.message


async def try_llm(port: int, files: Files) -> str | None:
    settings = AgentSettings(
        llm_base_url=f"https://127.0.0.1:{port}/v1", llm_model="tiny", llm_attempts=1, **files.named("llm_tls")
    )
    model = language_model(settings, TRACER, AgentMetrics(METER))
    assert model is not None
    try:
        assert [piece async for piece in model.stream(QUESTION)]
    except LlmUnavailable as error:
        return error.message
    finally:
        await model.close()
    return None


async def try_embedding(port: int, files: Files) -> str | None:
    settings = EmbedderSettings(
        embedding_url=f"https://127.0.0.1:{port}/v1",
        embedding_model=MODEL,
        embedding_dimension=DIMENSION,
        **files.named("embedding_tls"),
    )
    return await _embed(build_embedder(settings))


async def try_next_embedding(port: int, files: Files) -> str | None:
    settings = EmbedderSettings(
        next_embedding_url=f"https://127.0.0.1:{port}/v1",
        next_embedding_model=MODEL,
        next_embedding_dimension=DIMENSION,
        **files.named("next_embedding_tls"),
    )
    embedder = build_next_embedder(settings)
    assert embedder is not None
    return await _embed(embedder)


async def _embed(embedder: Embedder) -> str | None:
    try:
        assert len(await embedder.embed_queries(["harbour"])) == 1
    except EmbeddingUnavailable as error:
        return error.message
    finally:
        await embedder.close()
    return None


async def try_spans(port: int, files: Files) -> str | None:
    return await asyncio.to_thread(_export_a_span, port, files)


def _export_a_span(port: int, files: Files) -> str | None:
    settings = PlatformSettings(
        otlp_endpoint=f"https://127.0.0.1:{port}", otlp_timeout_seconds=1, **files.named("otlp_tls")
    )
    with captured_lines("test") as lines:
        export = SpanExport(settings, NoOpMeter("test"))
        export._taken_once = True  # Long after the start, in which nothing is said.
        provider = TracerProvider()
        provider.add_span_processor(export.processor)
        provider.get_tracer("test").start_span("work").end()
        export.close_soon()
        provider.shutdown()
    told = [line.get("trouble", "no reason") for line in lines_of(lines) if line["event"] == "spans_dropped"]
    return told[0] if told else None


def trying_issuer(issuer: Issuer) -> Attempt:
    async def attempt(port: int, files: Files) -> str | None:
        settings = GatewaySettings(
            jwt_issuer=issuer.url, jwt_jwks_url=f"https://127.0.0.1:{port}/keys", **files.named("jwt_tls")
        )
        keys = Jwks.of(settings)
        with captured_lines("test") as lines:
            try:
                assert await keys.key("rsa-1")
            except Unavailable:
                (told,) = (line["reason"] for line in lines_of(lines) if line["event"] == "issuer_keys_not_fetched")
                return str(told)
            finally:
                await keys.close()
        return None

    return attempt


def trying_postgresql(url: str, data: Path) -> Attempt:
    async def attempt(port: int, files: Files) -> str | None:
        named = {"sslrootcert": files.ca, **({"sslcert": files.own.cert, "sslkey": files.own.key} if files.own else {})}
        query = {"sslmode": "verify-full", **{name: str(path) for name, path in named.items() if path}}
        address = make_url(url).set(port=port).update_query_dict(query).render_as_string(hide_password=False)
        return await asyncio.to_thread(_migrate, PersistenceSettings(data_dir=data, database_url=address))

    return attempt


def _migrate(settings: PersistenceSettings) -> str | None:
    database = open_database(settings)
    try:
        migrate(database.writes, patience_seconds=0)
    except Unavailable as error:
        return error.message
    finally:
        database.close()
    return None


class Web(BaseHTTPRequestHandler):
    """Takes spans, and answers as an empty Qdrant of an old release, whatever it is asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        result: dict[str, Any] = {"aliases": [], "collections": []}
        self._answer({"title": "qdrant", "version": OLD_QDRANT, "result": result, "status": "ok", "time": 0.0})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({})

    def _answer(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web() -> Iterator[int]:
    """Run what takes spans and answers for Qdrant; yields its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def running_peers(data: Path) -> Iterator[dict[str, Peer]]:
    """Run every server that the platform speaks to; by name, without the TLS before it."""
    with ExitStack() as stack:
        redis, llm = stack.enter_context(redis_server()), stack.enter_context(scripted_llm())
        llm.default = lambda _: Reply(text="Hello.")
        embeddings, issuer = stack.enter_context(hashing_server()), stack.enter_context(oidc_issuer())
        database = stack.enter_context(settings_of("postgresql", data))
        port, url = stack.enter_context(web()), database.database_url
        assert url is not None
        yield {
            "cache": Peer(redis.port, try_cache, "RAG_REDIS_TLS"),
            "rate limits": Peer(redis.port, try_rates, "RAG_REDIS_TLS"),
            "index": Peer(port, try_qdrant, "RAG_QDRANT_TLS"),
            "language model": Peer(_port(llm.url), try_llm, "RAG_LLM_TLS"),
            "embedding": Peer(_port(embeddings.url), try_embedding, "RAG_EMBEDDING_TLS"),
            "next embedding": Peer(_port(embeddings.url), try_next_embedding, "RAG_NEXT_EMBEDDING_TLS"),
            "spans": Peer(port, try_spans, "RAG_OTLP_TLS"),
            "issuer": Peer(_port(issuer.url), trying_issuer(issuer), "RAG_JWT_TLS"),
            "database": Peer(_port(url), trying_postgresql(url, database.data_dir), "RAG_DATABASE_URL", True),
        }


def _port(url: str) -> int:
    port = make_url(url).port
    assert port is not None
    return port
