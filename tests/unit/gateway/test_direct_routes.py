"""What is asked most is called at once, and behaves as any other route."""

from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from services.gateway.direct_route import DirectRoute
from services.gateway.principal import Needs, Principal, Scope, admit
from services.gateway.problems import RequestProblem, install_problems
from services.gateway.routes import ROUTERS

ROUTES = {f"{method} {one.path}": one for router in ROUTERS for one in router.routes for method in one.methods}


async def whose(request: Request) -> str:
    return request.headers["whose"]


async def numbered(request: Request, number: int) -> str:
    return f"{request.url.path} {number}"


def routes() -> APIRouter:
    router = APIRouter(route_class=DirectRoute, dependencies=[Depends(Needs((Scope.QUERY,)))])

    @router.post("/direct")
    async def direct(request: Request, name: Annotated[str, Depends(whose)]) -> Response:
        return PlainTextResponse(f"{name} sent {(await request.body()).decode()}")

    @router.get("/broken")
    async def broken(request: Request) -> Response:
        raise RequestProblem(409, "conflict", f"{request.method} does not go")

    @router.get("/solved/{number}")
    async def solved(number: int, told: Annotated[str, Depends(numbered)]) -> Response:
        return PlainTextResponse(f"{told} {number}")

    return router


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI()
    install_problems(app)
    app.router.routes.extend(routes().routes)

    async def known(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        scopes = frozenset({Scope.QUERY} if dict(scope["headers"]).get(b"may") == b"query" else ())
        admit(scope, Principal("acme", scopes))
        await app(scope, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="http://gateway", headers={"may": "query"})


def test_what_is_asked_most_is_called_at_once() -> None:
    hot = ("POST /v1/search", "POST /v1/query", "POST /v1/chat/completions", "POST /v1/embeddings", "GET /v1/me")
    assert [ROUTES[name].direct for name in hot] == [True] * len(hot)


async def test_a_handler_gets_what_it_names(client: httpx.AsyncClient) -> None:
    answer = await client.post("/direct", content=b"a letter", headers={"whose": "Ada"})
    assert (answer.status_code, answer.text) == (200, "Ada sent a letter")


async def test_no_handler_is_reached_without_the_scope_that_its_router_needs(client: httpx.AsyncClient) -> None:
    answer = await client.post("/direct", headers={"whose": "Ada", "may": "nothing"})
    assert (answer.status_code, answer.json()["missing_scope"]) == (403, "query")


async def test_an_error_is_answered_as_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/broken")
    assert (answer.status_code, answer.json()["detail"]) == (409, "GET does not go")


async def test_another_method_is_refused_with_those_that_there_are(client: httpx.AsyncClient) -> None:
    answer = await client.get("/direct")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_handler_that_takes_more_is_called_as_the_framework_does(client: httpx.AsyncClient) -> None:
    assert not next(one for one in routes().routes if one.path == "/solved/{number}").direct  # type: ignore[attr-defined]
    assert (await client.get("/solved/7")).text == "/solved/7 7 7"
    assert (await client.get("/solved/seven")).status_code == 422
