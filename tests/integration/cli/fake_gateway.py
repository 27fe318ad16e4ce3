"""A small HTTP server that answers as the gateway does, for the commands to talk to."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.documents import UpsertInput
from shared.version import VERSION
from tests.integration.cli.fake_answers import FakeAnswers
from tests.integration.cli.fake_audit import FakeAudit
from tests.integration.cli.fake_conversations import conversation_routes
from tests.integration.cli.fake_letters import TRACE_ID, FakeLetters, letter_routes, problem


@dataclass
class FakeGateway:
    """Answers as the gateway does; a document's id says what becomes of it: fail-…, slow-…, refused-…, lost-…."""

    url: str = ""
    received: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    bodies: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    looks: Counter[str] = field(default_factory=Counter)
    busy_for: int = 0
    away: bool = False
    break_after_storing: int = 0
    in_work: int = 0
    most_in_work: int = 0
    health: dict[str, Any] = field(default_factory=dict)
    steps: list[tuple[str, Any]] = field(default_factory=list)
    comparisons: list[Any] = field(default_factory=list)
    reindex_requests: list[dict[str, Any]] = field(default_factory=list)
    letters: FakeLetters = field(default_factory=FakeLetters)
    answers: FakeAnswers = field(default_factory=FakeAnswers)
    audit: FakeAudit = field(default_factory=FakeAudit)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/live", self.live),
                Route("/v1/documents", self.send, methods=["POST"]),
                Route("/v1/documents", self.list),
                Route("/v1/documents/{document_id:path}", self.read),
                Route("/v1/search", self.search, methods=["POST"]),
                Route("/v1/query", self.query, methods=["POST"]),
                Route("/v1/queries/q1/events", self.answers.resume),
                Route("/v1/collections", self.collections),
                Route("/v1/usage", self.usage),
                Route("/v1/admin/pipeline", self.pipeline),
                Route("/v1/admin/reindex", self.reindex, methods=["POST"]),
                Route("/v1/admin/reconcile", self.reconcile, methods=["POST"]),
                Route("/health/detailed", self.detailed),
                Route("/v1/admin/audit", self.audit.list),
                *letter_routes(self.letters),
                *conversation_routes(),
            ]
        )

    async def live(self, _request: Request) -> JSONResponse:
        return JSONResponse({"live": True})

    async def send(self, request: Request) -> JSONResponse:
        key = request.headers["Idempotency-Key"]
        self.requests.append({"key": key, **request.query_params})
        if self.busy_for > 0:
            self.busy_for -= 1
            return problem(503, "overloaded", "the queue is full", {"Retry-After": "0"})
        documents = (await request.json())["documents"]
        for place, document in enumerate(documents):
            try:
                UpsertInput.model_validate(document)
            except ValidationError:
                return problem(422, "invalid_message", f"documents.{place} is wrong")
            if document["id"].startswith("refused-"):
                return problem(422, "invalid_message", f"documents.{place}.id is refused")
        if key not in self.keys:
            self.keys[key] = [self._receipt(document) for document in documents]
            self.received += [document["id"] for document in documents]
        if self.break_after_storing > 0:
            self.break_after_storing -= 1
            return problem(502, "bad_gateway", "the reply got lost")
        self.in_work += 1
        self.most_in_work = max(self.most_in_work, self.in_work)
        await asyncio.sleep(0.02)
        self.in_work -= 1
        return JSONResponse({"documents": self.keys[key]}, 202)

    def _receipt(self, document: dict[str, Any]) -> dict[str, Any]:
        receipt = {"id": document["id"], "collection": document.get("collection"), "revision": 7, "duplicate": False}
        if document["id"].startswith("fail-"):
            return {**receipt, "status": "failed", "error": {"code": "unreadable", "message": "not a \x1b[31mPDF"}}
        waits = document["id"].startswith(("slow-", "lost-"))
        return {**receipt, "status": "accepted" if waits else "indexed"}

    async def read(self, request: Request) -> JSONResponse:
        document_id = request.path_params["document_id"]
        self.looks[document_id] += 1
        if document_id.startswith("unknown"):
            return problem(404, "not_found", f"there is no document {document_id}")
        if document_id.startswith("slow-") and self.looks[document_id] == 1:
            return problem(404, "not_found", "not recorded yet")
        # First what the revision before came to, which says nothing of the one that was sent.
        revision = 3 if document_id.startswith("slow-") and self.looks[document_id] == 2 else 7
        status = "processing" if document_id.startswith("lost-") else "indexed"
        return JSONResponse(view(document_id, status, revision))

    async def list(self, request: Request) -> JSONResponse:
        self.bodies["list"] = dict(request.query_params)
        start = int(request.query_params.get("cursor", 0))
        end = start + min(int(request.query_params["limit"]), 3)
        items = [view(f"d{number}", "indexed", 1) for number in range(start, min(end, 7))]
        return JSONResponse({"items": items, "next_cursor": str(end) if end < 7 else None})

    async def search(self, request: Request) -> JSONResponse:
        body = self.bodies["search"] = await request.json()
        if body["query"] == "slow":
            return problem(503, "dependency_unavailable", "nobody answers rag.v1.retrieve", {"Retry-After": "2"})
        hit = {"document_id": "guide/a.md", "chunk_id": "c1", "collection": "default", "title": "The guide"}
        text = "Brokers keep messages.\x1b[2J"
        hits = [] if body["query"] == "nothing" else [{**hit, "uri": None, "text": text, "score": 0.87654, "page": 3}]
        reranked = {"reranked": False} if body.get("rerank") else {}
        return JSONResponse({"hits": hits, "took_ms": {"total": 1.0}, "trace_id": TRACE_ID, **reranked})

    async def query(self, request: Request) -> Response:
        body = self.bodies["query"] = await request.json()
        if body.get("stream"):
            return self.answers.begin(body["question"], self._answer(body))
        return JSONResponse(self._answer(body))

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        answered = body["question"] != "unknown"
        citation = {
            "n": 1,
            "document_id": "guide/a.md",
            "chunk_id": "c1",
            "title": "The guide",
            "uri": "file:guide/a.md",
        }
        return {
            "id": "q1",
            "answer": "Brokers keep messages [1]." if answered else "",
            "answered": answered,
            "citations": [{**citation, "quote": "A broker keeps\nmessages."}] if answered else [],
            "steps": [{"n": 1, "kind": "tool", "tool": "retrieve", "hits": 3}],
            "usage": {"total_tokens": 12.0},
            "cached": False,
            "conversation_id": "c1" if body.get("conversation_id") == "new" else body.get("conversation_id"),
            "trace_id": TRACE_ID,
        }

    async def usage(self, _request: Request) -> JSONResponse:
        limits = {"documents": 5_000, "bytes": None}
        return JSONResponse({"documents": 1_234, "bytes": 56_789, "limits": limits})

    async def collections(self, _request: Request) -> JSONResponse:
        one = {"name": "default", "documents": 3, "chunks": 12, "by_status": {"indexed": 2, "failed": 1}}
        return JSONResponse({"items": [one], "next_cursor": None})

    async def pipeline(self, _request: Request) -> JSONResponse:
        stage = {
            "stage": "parser",
            "stream": "INGEST",
            "backlog": 41,
            "in_flight": 2,
            "redelivered": 1,
            "dead_letters": 3,
        }
        return JSONResponse({"stages": [{**stage, "rate_per_s": None, "consumers_seen": 1}], "streams": []})

    async def reindex(self, request: Request) -> JSONResponse:
        """Answer the steps in the order that the test wrote down: with a reply, or with a status and a code."""
        asked = await request.json()
        self.reindex_requests.append(asked)
        expected, reply = self.steps.pop(0)
        assert asked["step"] == expected
        if isinstance(reply, tuple):
            return problem(reply[0], reply[1], f"the step failed with {reply[1]}", {"Retry-After": "0"})
        return JSONResponse(reply)

    async def reconcile(self, request: Request) -> JSONResponse:
        """Answer the steps that the test wrote down, in their order; each is asked for with the cursor before it."""
        self.requests.append(await request.json())
        reply = self.comparisons.pop(0)
        if isinstance(reply, tuple):
            return problem(reply[0], reply[1], f"the step failed with {reply[1]}", {"Retry-After": "0"})
        return JSONResponse(reply)

    async def detailed(self, _request: Request) -> JSONResponse:
        if self.away:
            return problem(503, "dependency_unavailable", "the broker does not answer")
        return JSONResponse(self.health or health())


def view(document_id: str, status: str, revision: int) -> dict[str, Any]:
    return {
        "id": document_id,
        "collection": "default",
        "title": None,
        "uri": None,
        "status": status,
        "revision": revision,
        "chunks": {"total": 2, "indexed": 2},
        "error": None,
        "created_at": "2026-11-01T10:00:00Z",
        "updated_at": "2026-11-01T10:00:01Z",
        "metadata": {"year": 2026},
    }


def health(**changes: Any) -> dict[str, Any]:
    names = ("gateway", "parser", "embedder", "retriever", "agent", "persistence")
    details: dict[str, dict[str, Any]] = {
        "persistence": {"database": {"status": "ok", "chunks": 12}},
        "retriever": {"index": {"chunks": 12}},
    }
    services = {
        name: {"replicas": [replica(f"{name}-1", details.get(name, {}))], "ready": 1, "live": 1} for name in names
    }
    return {
        "status": "ok",
        "version": VERSION,
        "broker": {"url": "nats://127.0.0.1:1"},
        "services": {**services, **{name: told for name, told in changes.items() if name in names}},
        **{name: told for name, told in changes.items() if name not in names},
    }


def replica(instance: str, details: dict[str, Any], *, ready: bool = True) -> dict[str, Any]:
    return {"instance": instance, "version": VERSION, "ready": ready, "live": True, "details": details}


@dataclass
class Output:
    """What a command printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Rag = Callable[..., Output]


def corpus(folder: Path, *document_ids: str) -> str:
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"id": one, "text": "text of " + one}) + "\n" for one in document_ids))
    return str(path)
