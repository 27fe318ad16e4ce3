import base64
import hashlib
import re

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer
from pydantic import ValidationError
from starlette.responses import PlainTextResponse

from services.gateway.app import build_app
from services.gateway.edge import Edge, request_duration
from services.gateway.hardening import add_cors, page
from services.gateway.routes.contracts import router
from services.gateway.settings import GatewaySettings
from shared.service import Service

ORIGIN = "https://app.example"


def app_of(*origins: str) -> FastAPI:
    app = FastAPI(docs_url=None)
    app.include_router(router)

    @app.get("/v1/things")
    async def things() -> PlainTextResponse:
        return PlainTextResponse("mine")

    @app.get("/v1/kept")
    async def kept() -> PlainTextResponse:
        return PlainTextResponse("x", headers={"Cache-Control": "no-cache", "Content-Security-Policy": "sandbox"})

    @app.get("/v1/fault")
    async def fault() -> None:
        raise KeyError("a secret in the message")

    add_cors(app, origins)
    app.add_middleware(Edge, tracer=NoOpTracer(), duration=request_duration(NoOpMeter("test")))
    return app


def client(app: FastAPI, scheme: str = "http") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"{scheme}://rag")


async def test_every_answer_keeps_a_browser_from_guessing_framing_telling_and_caching() -> None:
    async with client(app_of()) as http:
        for path in ("/v1/things", "/v1/nothing", "/v1/fault"):
            headers = (await http.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert headers["cache-control"] == "no-store"


async def test_what_a_route_says_itself_stays() -> None:
    async with client(app_of()) as http:
        headers = (await http.get("/v1/kept")).headers
    assert headers.get_list("content-security-policy") == ["sandbox"]
    assert headers.get_list("cache-control") == ["no-cache"]


async def test_only_over_tls_a_browser_is_told_to_stay_with_it() -> None:
    async with client(app_of()) as plain, client(app_of(), "https") as encrypted:
        assert "strict-transport-security" not in (await plain.get("/v1/things")).headers
        assert "max-age=" in (await encrypted.get("/v1/things")).headers["strict-transport-security"]


async def test_a_fault_tells_nothing_of_itself() -> None:
    async with client(app_of()) as http:
        answer = await http.get("/v1/fault")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert not re.search(r"secret|KeyError|Traceback|\.py", answer.text)


@pytest.mark.parametrize("path", ["/asyncapi", "/docs"])
async def test_a_page_runs_its_own_scripts_and_no_other(path: str) -> None:
    async with client(app_of()) as http:
        answer = await http.get(path)
    rules = dict(rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";"))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert "unsafe" not in rules["script-src"]
    for script in re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in rules["script-src"]
    assert not re.search(r"\son\w+=|javascript:", answer.text.split("</script>")[-1])


def test_the_page_of_the_api_has_a_script_of_its_own() -> None:
    assert "sha256-" in page("<script>let a = 1</script>").headers["content-security-policy"]


async def preflight(app: FastAPI, origin: str) -> httpx.Response:
    async with client(app) as http:
        return await http.options("/v1/things", headers={"Origin": origin, "Access-Control-Request-Method": "GET"})


async def test_nobody_calls_from_another_page_unless_its_origin_is_listed() -> None:
    assert "access-control-allow-origin" not in (await preflight(app_of(), ORIGIN)).headers
    listed = app_of(ORIGIN, "http://localhost:3000")
    assert (await preflight(listed, ORIGIN)).headers["access-control-allow-origin"] == ORIGIN
    refused = await preflight(listed, "https://evil.example")
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


async def test_a_listed_page_may_read_the_trace_id_and_the_limits_also_of_an_error() -> None:
    async with client(app_of(ORIGIN)) as http:
        headers = (await http.get("/v1/nothing", headers={"Origin": ORIGIN})).headers
    assert headers["access-control-allow-origin"] == ORIGIN
    assert {"X-Trace-Id", "Retry-After", "RateLimit"} <= set(headers["access-control-expose-headers"].split(", "))
    assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize("value", ["*", "app.example", "https://app.example/", "https://a b", "null"])
def test_what_is_no_origin_is_refused_at_start(value: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        GatewaySettings.model_validate({"gateway_cors_origins": value})


async def test_the_whole_app_answers_a_listed_page_before_it_asks_who_calls() -> None:
    settings = GatewaySettings.model_validate(
        {"gateway_cors_origins": f" {ORIGIN} ,http://[::1]:8080", "metrics": False}
    )
    answer = await preflight(build_app(Service("gateway", settings), settings), ORIGIN)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
        {"traceparent": "garbage\x01" * 500},
        {"traceparent": "00-ZZ-ZZ-01", "tracestate": "=" * 5_000},
        {"X-Request-Id": "../../etc/passwd", "X-Trace-Id": "<script>"},
    ],
)
async def test_ids_that_a_caller_makes_up_do_not_reach_the_answer(headers: dict[str, str]) -> None:
    settings = GatewaySettings(metrics=False)
    async with client(build_app(Service("gateway", settings), settings)) as http:
        answer = await http.get("/openapi.json", headers=headers)
    assert answer.status_code == 200
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-trace-id"])
    assert answer.headers["x-trace-id"] != "0" * 32
