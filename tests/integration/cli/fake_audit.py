"""The audit of the fake gateway, of the shape that the contract gives it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from contracts.audit import AuditEntry, AuditPage

BEGAN = datetime(2026, 11, 1, 10, tzinfo=UTC)


def entry(number: int) -> AuditEntry:
    return AuditEntry(
        id=f"a{number}",
        at=BEGAN + timedelta(minutes=number),
        action="deleted",
        actor="abcdefghijkl",
        method="DELETE",
        route="/v1/documents/{document_id:path}",
        target={"document_id": f"d{number}\x1b[2J"},
        status=202,
        address="::1",
    )


@dataclass
class FakeAudit:
    """Lists what happened, a few at a time, and keeps what was asked for."""

    entries: list[AuditEntry] = field(default_factory=lambda: [entry(number) for number in range(5, 0, -1)])
    asked: list[dict[str, Any]] = field(default_factory=list)
    page: int = 2

    async def list(self, request: Request) -> JSONResponse:
        self.asked.append(dict(request.query_params))
        start = int(request.query_params.get("cursor", 0))
        end = start + min(int(request.query_params["limit"]), self.page)
        more = str(end) if end < len(self.entries) else None
        return JSONResponse(AuditPage(items=self.entries[start:end], next_cursor=more).model_dump(mode="json"))
