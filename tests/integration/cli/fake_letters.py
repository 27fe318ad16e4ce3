"""The dead letters of the fake gateway; letter 2 is of an outdated revision and can't be sent again."""

from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
OUTDATED = 2
PATH = "/v1/admin/dead-letters"


def letter(seq: int) -> dict[str, Any]:
    return {
        "seq": seq,
        "consumer": "parser",
        "subject": "rag.v1.ingest.default",
        "code": "corrupt",
        "reason": "is not a \x1b[31mPDF",
        "field": "content",
        "error": "Rejected",
        "deliveries": 1,
        "document_id": f"d{seq}",
        "revision": seq,
        "trace_id": TRACE_ID,
        "size_bytes": 9,
        "created_at": "2026-11-01T10:00:00Z",
    }


@dataclass
class FakeLetters:
    """Keeps letters until they are replayed or discarded, and what was asked for."""

    seqs: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    payload: dict[str, Any] = field(
        default_factory=lambda: {"encoding": "json", "value": {"id": "d"}, "truncated": False, "missing": False}
    )
    asked: list[dict[str, Any]] = field(default_factory=list)
    page: int = 2
    stopped: dict[str, str] | None = None

    async def list(self, request: Request) -> JSONResponse:
        self.asked.append(dict(request.query_params))
        newest = sorted(self.seqs, reverse=True)
        start = int(request.query_params.get("cursor", 0))
        end = start + min(int(request.query_params["limit"]), self.page)
        items = [letter(seq) for seq in newest[start:end]]
        return JSONResponse({"items": items, "next_cursor": str(end) if end < len(newest) else None})

    async def show(self, request: Request) -> JSONResponse:
        seq = request.path_params["seq"]
        if seq not in self.seqs:
            return not_found(seq)
        headers = {"My-Header": "kept\x1b[2J"}
        return JSONResponse(
            {**letter(seq), "stream": "INGEST", "stream_sequence": seq, "headers": headers, "payload": self.payload}
        )

    async def replay(self, request: Request) -> JSONResponse:
        seq = request.path_params["seq"]
        if seq not in self.seqs:
            return not_found(seq)
        if seq == OUTDATED:
            return problem(409, "newer_revision", "document 'd2' has revision 8")
        self.seqs.remove(seq)
        receipt = {"seq": seq, "stream": "INGEST", "sequence": 9, "document_id": f"d{seq}", "revision": 9}
        return JSONResponse({**receipt, "trace_id": TRACE_ID})

    async def replay_all(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.asked.append(body)
        matching = [seq for seq in sorted(self.seqs) if seq > int(body.get("cursor", 0))][: self.page]
        counts = {"matched": len(matching), "replayed": 0, "refused": {}, "stopped": self.stopped, "next_cursor": None}
        if self.stopped is None:
            sent = [seq for seq in matching if seq != OUTDATED]
            self.seqs = [seq for seq in self.seqs if seq not in sent]
            counts["replayed"] = len(sent)
            counts["refused"] = {"newer_revision": 1} if OUTDATED in matching else {}
            counts["next_cursor"] = str(matching[-1]) if any(seq > matching[-1] for seq in self.seqs) else None
        return JSONResponse(counts)

    async def discard(self, request: Request) -> JSONResponse:
        seq = request.path_params["seq"]
        if seq not in self.seqs:
            return not_found(seq)
        self.seqs.remove(seq)
        return JSONResponse({"seq": seq, "status": "discarded"})


def letter_routes(letters: FakeLetters) -> list[Route]:
    return [
        Route(PATH, letters.list),
        Route(f"{PATH}/replay", letters.replay_all, methods=["POST"]),
        Route(f"{PATH}/{{seq:int}}", letters.show),
        Route(f"{PATH}/{{seq:int}}", letters.discard, methods=["DELETE"]),
        Route(f"{PATH}/{{seq:int}}/replay", letters.replay, methods=["POST"]),
    ]


def not_found(seq: int) -> JSONResponse:
    return problem(404, "dead_letter_not_found", f"there is no dead letter {seq}")


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body = {"type": "about:blank", "status": status, "code": code, "detail": detail, "trace_id": TRACE_ID}
    return JSONResponse(body, status, headers, media_type="application/problem+json")
