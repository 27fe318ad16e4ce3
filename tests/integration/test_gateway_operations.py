"""Health, pipeline, contracts and the broker's absence, on a real broker."""

import time
from collections.abc import AsyncIterator

import httpx
import pytest
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from contracts import subjects
from contracts.codec import encode
from contracts.health import HealthReply
from contracts.retrieval import ReindexReply, ReindexRequest
from contracts.topology import CONSUMERS, STREAMS
from services.gateway.app import build_app
from services.gateway.parts import EXPECTED_SERVICES
from services.gateway.settings import GatewaySettings
from shared.errors import Rejected
from shared.messaging.broker import settle
from shared.messaging.requests import respond
from shared.service import Service
from shared.settings import PROJECT_ROOT
from tests.integration.gateway_stand import Stand, document, running_gateway, running_stand
from tests.running import client_of, eventually
from tests.servers import NatsServer


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[Stand]:
    async with running_stand(nats_broker, gateway_sample_seconds=0.1) as running:
        yield running


async def answer_health(stand: Stand, *replies: HealthReply) -> None:
    """Have processes that are not here say how they are."""

    async def answer(message: Msg) -> None:
        for reply in replies:
            await message.respond(encode(reply))

    await stand.client.subscribe(subjects.HEALTH, cb=answer)
    await settle(stand.client)


def healthy(service: str, **fields: object) -> HealthReply:
    values = {"service": service, "instance": f"{service}-1", "version": "1", "ready": True, "live": True, **fields}
    return HealthReply.model_validate(values)


async def test_health_is_ok_when_every_part_has_a_ready_replica(stand: Stand) -> None:
    await answer_health(stand, *(healthy(name) for name in EXPECTED_SERVICES if name != "gateway"))
    found = (await stand.http.get("/health/detailed")).json()
    assert found["status"] == "ok"
    assert list(found["services"]) == list(EXPECTED_SERVICES)
    assert found["services"]["parser"]["replicas"][0]["instance"] == "parser-1"
    assert found["broker"] == {"url": stand.broker.url, "server": "2.15.1", "connected": True, "answers": True}
    assert (await stand.http.get("/health")).json() == {
        "status": "ok",
        "version": found["version"],
        "services": dict.fromkeys(EXPECTED_SERVICES, 1),
        "problems": [],
    }


async def test_a_silent_part_is_named_within_a_second(stand: Stand) -> None:
    await answer_health(stand, *(healthy(name) for name in EXPECTED_SERVICES if name != "embedder"))
    started = time.monotonic()
    response = await stand.http.get("/health/detailed")
    assert time.monotonic() - started < 1
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert response.json()["services"]["embedder"] == {"replicas": [], "ready": 0, "live": 0}


async def test_a_part_that_is_not_live_degrades_the_platform(stand: Stand) -> None:
    parts = [healthy(name) for name in EXPECTED_SERVICES if name != "gateway"]
    await answer_health(stand, *parts, healthy("parser", instance="parser-2", live=False, ready=False))
    found = (await stand.http.get("/health/detailed")).json()
    assert (found["status"], found["services"]["parser"]["ready"], found["services"]["parser"]["live"]) == (
        "degraded",
        1,
        1,
    )


async def test_credentials_of_the_broker_are_never_shown(nats_broker: NatsServer) -> None:
    url = nats_broker.url.replace("nats://", "nats://user:secret@")
    async with running_gateway(nats_broker, nats_url=url) as (_, http, _gateway):
        response = await http.get("/health/detailed")
    assert response.json()["broker"]["url"] == nats_broker.url
    assert "secret" not in response.text


async def test_the_pipeline_shows_every_stage_with_its_backlog(stand: Stand) -> None:
    details = {"consumers": {"parser": {"last_fetch_age_seconds": 0.1}}}
    await answer_health(stand, healthy("parser", details=details), healthy("parser", instance="p2", details=details))
    await stand.http.post("/v1/documents", json={"documents": [document(id=f"d{index}") for index in range(3)]})
    await eventually(lambda: len(stand.persistence.documents) == 3, "everything is recorded")
    found = (await stand.http.get("/v1/admin/pipeline")).json()
    stages = {stage["stage"]: stage for stage in found["stages"]}
    assert list(stages) == [consumer.name for consumer in CONSUMERS]
    assert (stages["parser"]["backlog"], stages["parser"]["consumers_seen"]) == (3, 2)
    assert 0 <= stages["parser"]["oldest_age_s"] < 60
    assert (stages["persistence-intake"]["backlog"], stages["persistence-intake"]["in_flight"]) == (0, 0)
    assert stages["persistence-intake"]["oldest_age_s"] is None
    streams = {stream["name"]: stream for stream in found["streams"]}
    assert list(streams) == [stream.name for stream in STREAMS]
    assert (streams["INGEST"]["messages"], streams["INGEST"]["last_sequence"]) == (3, 3)


async def test_the_rate_of_a_stage_shows_how_fast_it_works(stand: Stand) -> None:
    await stand.http.post("/v1/documents", json={"documents": [document(id=f"d{index}") for index in range(20)]})

    async def rate() -> float:
        stages = (await stand.http.get("/v1/admin/pipeline")).json()["stages"]
        return float(next(stage["rate_per_s"] for stage in stages if stage["stage"] == "persistence-intake") or 0)

    assert await eventually(rate, "the intake's rate is known") > 0


async def test_collections_are_listed_with_their_counts(stand: Stand) -> None:
    await stand.http.post("/v1/documents", json={"documents": [document(collection="c")]})
    await eventually(lambda: "a" in stand.persistence.documents, "the document is recorded")
    found = (await stand.http.get("/v1/collections")).json()
    assert found == {"items": [{"name": "c", "documents": 1, "chunks": 1, "by_status": {}}], "next_cursor": None}


async def test_both_contracts_are_served_and_load_nothing_from_elsewhere(stand: Stand) -> None:
    openapi = (await stand.http.get("/openapi.json")).json()
    body = openapi["paths"]["/v1/documents"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert (
        body["application/json"]["schema"]["$ref"].removeprefix("#/components/schemas/")
        in openapi["components"]["schemas"]
    )
    asyncapi = await stand.http.get("/asyncapi.json")
    assert asyncapi.json()["asyncapi"].startswith("3.")
    for page in ("/docs", "/asyncapi"):
        text = (await stand.http.get(page)).text
        assert "http://" not in text
        assert "https://" not in text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert (await stand.http.get(f"/docs-assets/{asset}")).status_code == 200
    assert (PROJECT_ROOT / "contracts" / "asyncapi.json").is_file()


async def test_streams_are_described_beside_the_replies_they_take_the_place_of(stand: Stand) -> None:
    paths = (await stand.http.get("/openapi.json")).json()["paths"]
    asked = paths["/v1/query"]["post"]["responses"]["200"]["content"]
    assert set(asked) == {"application/json", "text/event-stream"}
    assert asked["application/json"]["schema"]["$ref"].endswith("/QueryAnswer")
    resumed = paths["/v1/queries/{query_id}/events"]["get"]
    assert set(resumed["responses"]["200"]["content"]) == {"text/event-stream"}
    assert "204" in resumed["responses"]
    assert {(one["name"].lower(), one["in"]) for one in resumed["parameters"]} == {
        ("query_id", "path"),
        ("last-event-id", "header"),
    }


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


async def test_every_reference_of_the_http_contract_leads_somewhere(stand: Stand) -> None:
    openapi = (await stand.http.get("/openapi.json")).json()
    named = {f"#/components/schemas/{name}" for name in openapi["components"]["schemas"]}
    assert references(openapi) <= named


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/nothing", 404, "not_found"),
        ("PUT", "/v1/search", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
    ],
)
async def test_what_does_not_exist_is_a_problem(stand: Stand, method: str, path: str, status: int, code: str) -> None:
    response = await stand.http.request(method, path)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert path in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/documents", "GET, POST"),
        ("/v1/documents/a/b", "DELETE, GET"),
        ("/v1/search", "POST"),
        ("/live", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(stand: Stand, path: str, methods: str) -> None:
    response = await stand.http.request("PATCH", path)
    assert response.status_code == 405
    assert sorted(response.headers["Allow"].split(", ")) == methods.split(", ")


@pytest.mark.parametrize("path", ["/live", "/v1/collections", "/nothing", "/docs", "/v1/documents/nothing"])
async def test_every_answer_carries_the_trace_of_its_caller(stand: Stand, path: str) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    told = await stand.http.get(path, headers={"traceparent": traceparent})
    own = await stand.http.get(path, headers={"traceparent": "not a trace"})
    assert told.headers["X-Trace-Id"] == "0af7651916cd43dd8448eb211c80319c"
    assert len(own.headers["X-Trace-Id"]) == 32
    assert own.headers["X-Trace-Id"] not in ("0" * 32, told.headers["X-Trace-Id"])
    assert told.headers["X-Content-Type-Options"] == "nosniff"


async def test_requests_are_counted_by_their_route_and_not_by_their_path(stand: Stand) -> None:
    await stand.http.get("/v1/documents/somebody")
    await stand.http.request("BREW", "/v1/documents/somebody")
    metrics = (await stand.http.get("/metrics")).text
    assert 'http_route="/v1/documents/{document_id:path}"' in metrics
    assert "somebody" not in metrics
    assert "BREW" not in metrics


async def test_an_unexpected_failure_is_a_500_without_internals(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(type(stand.gateway.reads), "collections", broken)
    with capture_logs() as logs:
        response = await stand.http.get("/v1/collections")
    assert [entry["event"] for entry in logs] == ["request_fault"]
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert response.json()["trace_id"] == response.headers["X-Trace-Id"]
    assert "secret" not in response.text


async def test_the_gateway_is_not_ready_without_the_declared_topology(bare_nats: NatsServer) -> None:
    settings = GatewaySettings(nats_url=bare_nats.url, publish_timeout_seconds=0.2)
    service = Service("gateway", settings)
    app = build_app(service, settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rag") as http,
    ):
        assert (await http.get("/ready")).status_code == 503
        assert (await http.get("/live")).status_code == 200
        response = await http.post("/v1/documents", json={"documents": [document()]})
        assert (response.status_code, response.json()["code"]) == (503, "dependency_unavailable")


async def test_without_the_broker_writes_are_refused_and_work_again_when_it_is_back(nats_broker: NatsServer) -> None:
    """INVARIANT: dependencies may go away; nothing is accepted that is not stored."""
    async with running_gateway(nats_broker, publish_timeout_seconds=0.5, request_timeout_seconds=0.5) as running:
        _, http, _gateway = running
        nats_broker.kill()
        refused = await http.post("/v1/documents", json={"documents": [document()]})
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        searched = await http.post("/v1/search", json={"query": "x"})
        assert searched.status_code == 503
        assert (await http.get("/v1/admin/pipeline")).status_code == 503
        health = (await http.get("/health/detailed")).json()
        assert (health["status"], health["broker"]["connected"]) == ("degraded", False)
        assert (await http.get("/ready")).status_code == 503
        nats_broker.start()

        async def accepted() -> bool:
            return (await http.post("/v1/documents", json={"documents": [document()]})).status_code == 202

        await eventually(accepted, "documents are accepted again")
    async with client_of(nats_broker.url) as client:
        assert (await client.jetstream().stream_info("INGEST")).state.messages >= 1


async def test_a_step_of_a_reindexing_is_passed_on_and_its_refusal_comes_back(stand: Stand) -> None:
    asked: list[ReindexRequest] = []

    async def step(request: ReindexRequest, _deadline: float | None) -> ReindexReply:
        asked.append(request)
        if request.step == "activate":
            raise Rejected("no next model is configured", code="no_next_model")
        return ReindexReply(active="old@1", chunks=3, next_model="new@2", copied=2, cursor="chunks:x")

    await respond(
        stand.client,
        stand.service.telemetry.tracer,
        stand.service.metrics,
        subjects.INDEX_REINDEX,
        ReindexRequest,
        step,
        queue="retriever",
        concurrency=1,
    )
    await settle(stand.client)

    copied = await stand.http.post("/v1/admin/reindex", json={"step": "copy", "cursor": "chunks:a"})
    refused = await stand.http.post("/v1/admin/reindex", json={"step": "activate"})
    unknown = await stand.http.post("/v1/admin/reindex", json={"step": "jump"})

    assert (copied.status_code, copied.json()["copied"], copied.json()["cursor"]) == (200, 2, "chunks:x")
    assert asked[0] == ReindexRequest(step="copy", cursor="chunks:a")
    assert (refused.status_code, refused.json()["code"]) == (422, "no_next_model")
    assert unknown.status_code == 422
    assert len(asked) == 2


async def test_a_scrape_does_not_wait_for_a_broker_that_is_away(nats_broker: NatsServer) -> None:
    async with running_gateway(nats_broker, gateway_sample_seconds=0.1) as running:
        _, http, _gateway = running

        async def shown() -> bool:
            text = (await http.get("/metrics")).text
            return 'rag_consumer_backlog_age_seconds{messaging_consumer_group_name="parser"' in text

        async def gone() -> bool:
            return not await shown()

        await eventually(shown, "the backlog of the parser is shown")
        nats_broker.kill()
        started = time.monotonic()
        assert (await http.get("/metrics")).status_code == 200
        assert time.monotonic() - started < 1
        await eventually(gone, "figures that cannot be read any more are not shown")
        nats_broker.start()
        await eventually(shown, "the backlog of the parser is shown again")
