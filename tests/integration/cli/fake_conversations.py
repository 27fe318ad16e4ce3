"""The conversations of the fake gateway: 300 of them, the one called c1 with 150 turns."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.integration.cli.fake_letters import problem

COUNT, TURNS = 300, 150
PATH = "/v1/conversations"
TIME = "2026-11-01T10:00:00Z"


def conversation_routes() -> list[Route]:
    return [
        Route(PATH, listed),
        Route(PATH + "/{conversation_id}", read, methods=["GET"]),
        Route(PATH + "/{conversation_id}", delete, methods=["DELETE"]),
    ]


def view(number: int) -> dict[str, Any]:
    title = "What is a \x1b[31mbroker?"
    return {"id": f"c{number}", "title": title, "turn_count": TURNS, "created_at": TIME, "updated_at": TIME}


def turn(number: int) -> dict[str, Any]:
    return {
        "query_id": f"q{number}",
        "question": "And how long?" if number else "What is a broker?",
        "stand_alone": "How long does a broker keep messages?" if number else None,
        "answer": "It keeps messages. [1]",
        "answered": True,
        "citations": [],
        "asked_at": TIME,
        "answered_at": TIME,
    }


def page(request: Request, items: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str | None]:
    start, limit = int(request.query_params.get("cursor", "0")), int(request.query_params["limit"])
    end = start + limit
    return items[start:end], str(end) if end < len(items) else None


async def listed(request: Request) -> JSONResponse:
    found, cursor = page(request, [view(number) for number in range(COUNT)])
    return JSONResponse({"items": found, "next_cursor": cursor})


async def read(request: Request) -> Response:
    name = request.path_params["conversation_id"]
    if name != "c1":
        return problem(404, "conversation_not_found", f"there is no conversation {name!r}")
    if int(request.query_params["limit"]) > 100:
        return problem(422, "invalid_request", "limit: at most 100")
    found, cursor = page(request, [turn(number) for number in range(TURNS)])
    return JSONResponse({**view(1), "turns": found, "next_cursor": cursor})


async def delete(request: Request) -> JSONResponse:
    return JSONResponse({"id": request.path_params["conversation_id"], "turn_count": TURNS, "status": "deleted"})
