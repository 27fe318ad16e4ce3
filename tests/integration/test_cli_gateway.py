"""The commands that talk to the gateway, against a real HTTP server that answers as the gateway does."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from contracts.documents import UpsertInput
from services.cli.main import main
from shared.settings import PROJECT_ROOT
from shared.version import VERSION

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


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
                Route("/v1/collections", self.collections),
                Route("/v1/admin/pipeline", self.pipeline),
                Route("/health/detailed", self.detailed),
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
        return JSONResponse({"hits": hits, "took_ms": {"total": 1.0}, "trace_id": TRACE_ID})

    async def query(self, request: Request) -> JSONResponse:
        body = self.bodies["query"] = await request.json()
        answered = body["question"] != "unknown"
        citation = {
            "n": 1,
            "document_id": "guide/a.md",
            "chunk_id": "c1",
            "title": "The guide",
            "uri": "file:guide/a.md",
        }
        return JSONResponse(
            {
                "id": "q1",
                "answer": "Brokers keep messages [1]." if answered else "",
                "answered": answered,
                "citations": [{**citation, "quote": "A broker keeps\nmessages."}] if answered else [],
                "steps": [{"name": "retrieve", "hits": 3}],
                "usage": {"total_tokens": 12.0},
                "cached": False,
                "conversation_id": None,
                "trace_id": TRACE_ID,
            }
        )

    async def collections(self, _request: Request) -> JSONResponse:
        one = {"name": "default", "documents": 3, "chunks": 12, "by_status": {"indexed": 2, "failed": 1}}
        return JSONResponse({"items": [one], "next_cursor": None})

    async def pipeline(self, _request: Request) -> JSONResponse:
        stage = {"stage": "parser", "stream": "INGEST", "backlog": 41, "in_flight": 2, "redelivered": 1}
        return JSONResponse({"stages": [{**stage, "rate_per_s": None, "consumers_seen": 1}], "streams": []})

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
        "services": {**services, **changes},
    }


def replica(instance: str, details: dict[str, Any], *, ready: bool = True) -> dict[str, Any]:
    return {"instance": instance, "version": VERSION, "ready": ready, "live": True, "details": details}


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body = {"type": "about:blank", "status": status, "code": code, "detail": detail, "trace_id": TRACE_ID}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    fake = FakeGateway()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fake.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(fake.app(), lifespan="off", log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield fake
        server.should_exit = True
        thread.join()


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAG_URL", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path / "data"))


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


@pytest.fixture
def rag(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(command: str, *arguments: str) -> Output:
        code = main([command, *arguments, "--url", gateway.url])
        printed = capsys.readouterr()
        return Output(code, printed.out, printed.err)

    return run


def corpus(folder: Path, *document_ids: str) -> str:
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"id": one, "text": "text of " + one}) + "\n" for one in document_ids))
    return str(path)


# ingest


def test_a_folder_is_loaded_and_counted(rag: Any, gateway: FakeGateway, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.md").write_text(f"text {number}")
    told = rag("ingest", str(tmp_path), "--batch", "2")
    assert told.code == 0
    assert told.out.startswith("5 indexed, 0 failed in ")
    assert sorted(gateway.received) == [f"{number}.md" for number in range(5)]
    assert [request["wait_s"] for request in gateway.requests] == ["10"] * 3
    assert len({request["key"] for request in gateway.requests}) == 3


def test_a_document_that_fails_is_listed_and_the_command_fails(rag: Any, tmp_path: Path) -> None:
    told = rag("ingest", corpus(tmp_path, "good", "fail-1", "also-good"))
    assert told.code == 1
    assert "2 indexed, 1 failed" in told.out
    assert "fail-1" in told.out
    assert "unreadable" in told.out
    assert "\x1b" not in told.out


def test_a_broken_line_fails_by_its_number_and_the_others_get_in(
    rag: Any, gateway: FakeGateway, tmp_path: Path
) -> None:
    path = Path(corpus(tmp_path, "a", "b"))
    path.write_text(path.read_text() + "oops\n")
    told = rag("ingest", str(path), "--json")
    assert told.code == 1
    failed = [event for event in told.events if event.get("status") == "failed"]
    assert [(event["id"], event["error"]["code"]) for event in failed] == [(f"{path}:3", "invalid_line")]
    assert gateway.received == ["a", "b"]
    assert told.events[-1]["event"] == "summary"
    assert told.events[-1]["indexed"] == 2


def test_documents_that_take_longer_are_followed_to_their_own_revision(
    rag: Any, gateway: FakeGateway, tmp_path: Path
) -> None:
    told = rag("ingest", corpus(tmp_path, "slow-1", "quick", "slow-2"), "--wait-s", "0")
    assert told.code == 0
    assert "3 indexed" in told.out
    assert gateway.looks == {"slow-1": 3, "slow-2": 3}


def test_a_document_that_never_moves_is_given_up_on(rag: Any, tmp_path: Path) -> None:
    told = rag("ingest", corpus(tmp_path, "lost-1", "fine"), "--timeout", "1")
    assert told.code == 1
    assert "1 indexed, 1 failed" in told.out
    assert "still_processing" in told.out


def test_a_full_queue_is_waited_for(rag: Any, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.busy_for = 2
    told = rag("ingest", corpus(tmp_path, "a"))
    assert told.code == 0
    assert len({request["key"] for request in gateway.requests}) == 1
    assert len(gateway.requests) == 3


def test_a_reply_that_got_lost_does_not_send_a_document_twice(rag: Any, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.break_after_storing = 1
    told = rag("ingest", corpus(tmp_path, "a", "b"))
    assert told.code == 0
    assert gateway.received == ["a", "b"]


def test_one_refused_document_does_not_take_its_batch_with_it(rag: Any, gateway: FakeGateway, tmp_path: Path) -> None:
    told = rag("ingest", corpus(tmp_path, "a", "b", "refused-1", "c", "d"), "--json")
    assert told.code == 1
    assert sorted(gateway.received) == ["a", "b", "c", "d"]
    [failed] = [event for event in told.events if event.get("status") == "failed"]
    assert failed["id"] == "refused-1"
    assert "refused" in failed["error"]["message"]


def test_no_more_than_so_many_requests_are_on_their_way(rag: Any, gateway: FakeGateway, tmp_path: Path) -> None:
    ids = [f"d{number}" for number in range(40)]
    told = rag("ingest", corpus(tmp_path, *ids), "--batch", "2", "--concurrency", "3")
    assert told.code == 0
    assert sorted(gateway.received) == sorted(ids)
    assert gateway.most_in_work <= 3


def test_without_waiting_the_command_ends_when_all_is_accepted(rag: Any, gateway: FakeGateway, tmp_path: Path) -> None:
    told = rag("ingest", corpus(tmp_path, "slow-1", "slow-2"), "--no-wait")
    assert told.code == 0
    assert told.out.startswith("2 accepted, 0 failed")
    assert gateway.looks == {}
    assert "wait_s" not in gateway.requests[0]


def test_nothing_to_load_is_said(rag: Any, tmp_path: Path) -> None:
    told = rag("ingest", str(tmp_path))
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith(f"rag: nothing to ingest in {tmp_path}")


# search, ask, documents


def test_hits_are_shown_with_their_place_and_their_words(rag: Any, gateway: FakeGateway) -> None:
    told = rag("search", "broker messages", "-c", "default", "-k", "3", "--mode", "dense", "--filter", '{"year":2026}')
    assert told.code == 0
    assert "0.877" in told.out
    assert "The guide p. 3" in told.out
    assert "\x1b" not in told.out
    assert gateway.bodies["search"] == {
        "query": "broker messages",
        "collection": "default",
        "top_k": 3,
        "mode": "dense",
        "filter": {"year": 2026},
    }


def test_a_search_without_hits_says_so(rag: Any) -> None:
    told = rag("search", "nothing")
    assert (told.code, told.out) == (0, "Nothing found.\n")


def test_a_problem_is_one_line_with_its_code_and_its_trace(rag: Any) -> None:
    told = rag("search", "slow")
    assert (told.code, told.out) == (1, "")
    assert told.err == f"rag: nobody answers rag.v1.retrieve [dependency_unavailable, trace {TRACE_ID}]\n"


def test_an_answer_comes_with_its_sources(rag: Any) -> None:
    told = rag("ask", "what do brokers do?")
    assert told.code == 0
    assert told.out.splitlines() == [
        "Brokers keep messages [1].",
        "",
        "Sources",
        "[1] The guide  file:guide/a.md",
        "    “A broker keeps messages.”",
    ]


def test_no_answer_is_said_in_words(rag: Any) -> None:
    assert rag("ask", "unknown").out == "No answer found in the documents.\n"


def test_the_steps_are_shown_when_asked_for(rag: Any) -> None:
    told = rag("ask", "what?", "--verbose")
    assert '1. retrieve {"hits": 3}' in told.out
    assert TRACE_ID in told.out


@pytest.mark.parametrize("command", [("search", "x"), ("ask", "x"), ("documents",), ("documents", "a"), ("status",)])
def test_every_command_speaks_json(rag: Any, command: tuple[str, ...]) -> None:
    told = rag(*command, "--json")
    assert told.code == 0
    assert isinstance(told.json, dict)
    assert told.err == ""


def test_documents_are_listed_across_pages_up_to_the_limit(rag: Any, gateway: FakeGateway) -> None:
    told = rag("documents", "--json", "--limit", "5", "--status", "indexed", "-c", "default")
    assert [item["id"] for item in told.json["items"]] == ["d0", "d1", "d2", "d3", "d4"]
    assert told.json["next_cursor"] == "5"
    assert gateway.bodies["list"] == {"limit": "2", "cursor": "3", "status": "indexed", "collection": "default"}
    assert "d6" in rag("documents").out


def test_a_document_is_found_by_an_id_with_slashes_and_spaces(rag: Any, gateway: FakeGateway) -> None:
    told = rag("documents", "guide/in tro?.md")
    assert told.code == 0
    assert "guide/in tro?.md" in told.out
    assert gateway.looks == {"guide/in tro?.md": 1}


def test_an_unknown_document_is_a_failure(rag: Any) -> None:
    told = rag("documents", "unknown-1")
    assert told.code == 1
    assert "there is no document unknown-1 [not_found" in told.err


# status, doctor


def test_the_state_shows_services_stages_and_collections(rag: Any) -> None:
    told = rag("status")
    assert told.code == 0
    rows = [line.split() for line in told.out.splitlines()]
    assert ["persistence", "1/1", "1/1", "persistence-1"] in rows
    assert ["parser", "41", "2", "1", "-", "1"] in rows
    assert ["default", "3", "12", "2", "indexed,", "1", "failed"] in rows


def test_the_state_for_programs_names_the_broker(rag: Any) -> None:
    state = rag("status", "--json").json
    assert state["nats_url"] == "nats://127.0.0.1:1"
    assert state["pipeline"]["stages"][0]["backlog"] == 41


def checks(told: Output) -> dict[str, dict[str, str]]:
    return {check["check"]: check for check in told.json["checks"]}


def test_the_doctor_finds_nothing_where_nothing_is_wrong(rag: Any) -> None:
    found = checks(rag("doctor", "--json"))
    assert found["python"]["verdict"] == "good"
    assert {found[name]["verdict"] for name in ("reachable", "parser", "persistence", "counts")} == {"good"}
    assert found["topology"]["verdict"] == "skipped"


def test_the_doctor_says_which_replica_waits_for_what(rag: Any, gateway: FakeGateway) -> None:
    waiting = [replica("embedder-1", {}), replica("embedder-2", {"waiting_for": "topology"}, ready=False)]
    gateway.health = health(embedder={"replicas": waiting, "ready": 1, "live": 2}, agent={"replicas": []})
    told = rag("doctor", "--json")
    found = checks(told)
    assert told.code == 1
    assert "1 of 2 not ready (embedder-2: waiting for topology)" in found["embedder"]["message"]
    assert "no replica answers" in found["agent"]["message"]


def test_the_doctor_compares_database_and_index(
    rag: Any, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.cli.platform_checks.COUNT_PAUSE_SECONDS", 0.0)
    lost = replica("retriever-1", {"index": {"chunks": 11}})
    gateway.health = health(retriever={"replicas": [lost], "ready": 1, "live": 1})
    found = checks(rag("doctor", "--json"))
    assert found["counts"]["verdict"] == "bad"
    assert "12 chunks in the database, 11 in the index" in found["counts"]["message"]


def test_the_doctor_without_a_gateway_checks_what_it_can(rag: Any, gateway: FakeGateway) -> None:
    gateway.url = "http://127.0.0.1:1"
    told = rag("doctor")
    assert told.code == 1
    found = " ".join(told.out.split())
    assert "✗ reachable no gateway at http://127.0.0.1:1; start it with `rag up`" in found
    assert "✓ python" in found
    assert "- counts not checked without the gateway" in found


# the command line itself


def test_a_gateway_that_is_not_there_is_said_at_once(rag: Any, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.url = "http://127.0.0.1:1"
    for command in (("search", "x"), ("ingest", corpus(tmp_path, "a")), ("status",)):
        told = rag(*command)
        assert (told.code, told.out) == (1, "")
        assert told.err == "rag: no gateway at http://127.0.0.1:1; start it with `rag up`, or name another with --url\n"


@pytest.mark.parametrize("place", ["before", "variable"])
def test_the_address_may_stand_before_the_command_or_in_a_variable(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    if place == "variable":
        monkeypatch.setenv("RAG_URL", gateway.url)
    before = ["--url", gateway.url] if place == "before" else []
    assert main([*before, "--json", "search", "x"]) == 0
    assert json.loads(capsys.readouterr().out)["trace_id"] == TRACE_ID


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["search"], "Missing argument 'QUERY'"),
        (["search", "x", "--nonsense"], "No such option: --nonsense"),
        (["search", "x", "--filter", "{"], "--filter is not JSON"),
        (["search", "x", "--url", "localhost:8000"], "--url must be an address such as http://127.0.0.1:8000"),
        (["ingest", "/no/such/path"], "'/no/such/path' does not exist"),
        (["documents", "--status", "lost"], "lost"),
        (["up", "--scale", "retriever=2"], "set RAG_QDRANT_URL"),
        (["up", "--port", "70000"], "--port"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("rag: ")
    assert printed.err.count("\n") == 1
    assert reason in printed.err


def test_a_setting_that_is_wrong_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_NATS_REPLICAS", "many")
    assert main(["up"]) == 1
    assert capsys.readouterr().err.startswith("rag: RAG_NATS_REPLICAS: ")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rag {VERSION}\n"


def test_watching_goes_on_when_the_gateway_goes_away(gateway: FakeGateway) -> None:
    command = [sys.executable, "-m", "services.cli.main", "status", "--watch", "--interval", "0.5", "--json"]
    with subprocess.Popen(
        [*command, "--url", gateway.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT_ROOT
    ) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        gateway.away = True
        while "error" not in (state := json.loads(watching.stdout.readline())):
            assert state["status"] == "ok"
        gateway.away = False
        while "error" in json.loads(watching.stdout.readline()):
            continue
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130
    assert first["services"]["parser"]["ready"] == 1
