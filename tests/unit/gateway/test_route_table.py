"""Looking a route up finds the one that a search through all of them finds."""

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from services.gateway.route_table import RouteTable


async def general(name: str) -> Response:
    return PlainTextResponse(f"general {name}")


async def literal() -> Response:
    return PlainTextResponse("literal")


async def written() -> Response:
    return PlainTextResponse("written")


async def behind(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    await PlainTextResponse("behind")(scope, receive, send)


def app_of(*, table: bool) -> FastAPI:
    router = APIRouter()
    router.add_api_route("/things/first", literal, methods=["GET"])
    router.add_api_route("/things/{name:path}", general, methods=["GET"])
    router.add_api_route("/things/last", literal, methods=["GET"])
    router.add_api_route("/things/first", written, methods=["POST"])
    # What is under a mount is its own.
    routes = [Mount("/mounted", behind), *router.routes, Route("/mounted/own", general)]
    app = FastAPI(redirect_slashes=False)
    app.router.routes[:] = [*([RouteTable(routes)] if table else []), *routes]
    return app


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT"])
@pytest.mark.parametrize(
    "path",
    ["/things/first", "/things/last", "/things/other", "/things/first/", "/mounted/own", "/things", "/things/%66irst"],
)
async def test_a_table_changes_nothing(method: str, path: str) -> None:
    found = []
    for table in (True, False):
        transport = httpx.ASGITransport(app_of(table=table))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            answer = await client.request(method, path)
        found.append((answer.status_code, answer.text, answer.headers.get("allow")))
    assert found[0] == found[1]


async def test_the_layers_around_learn_which_route_served() -> None:
    app, seen = app_of(table=True), []

    async def watching(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        await app(scope, receive, send)
        seen.append((scope["route"].path, scope["path_params"]))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(watching), base_url="http://gateway") as client:
        await client.get("/things/first")
        await client.get("/things/other")
    assert seen == [("/things/first", {}), ("/things/{name:path}", {"name": "other"})]
