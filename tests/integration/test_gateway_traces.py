"""Traces over HTTP: a real gateway before a real persistence service, which sends its spans to itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from services.persistence.database import open_trace_database
from services.persistence.settings import PersistenceSettings
from services.persistence.tracing import span_store
from tests.integration.gateway_stand import TENANT, running_gateway
from tests.integration.persistence_service import persistence
from tests.servers import provisioned_nats_server
from tests.unit.persistence.exported_spans import exported, kept, trace_id

TRACES = "/v1/traces"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway whose tenant has ten traces, the last of them failed; another tenant has one."""
    # In a thread: it has an event loop of its own.
    servers = provisioned_nats_server()
    server = await asyncio.to_thread(servers.__enter__)
    data: Path = tmp_path_factory.mktemp("persistence")
    async with persistence(server, data), running_gateway(server) as (_service, client, _gateway):
        database = open_trace_database(PersistenceSettings(data_dir=data))
        mine = [exported(number, 1, tenant=TENANT, at_ms=number, failed=number == 10) for number in range(1, 11)]
        with database.writes.begin() as connection:
            span_store.add(connection, kept(*mine, exported(99, 1, tenant="other")), 0, 100)
        database.close()
        yield client
    servers.__exit__(None, None, None)


async def test_a_trace_is_shown_in_the_documented_form(http: httpx.AsyncClient) -> None:
    reply = await http.get(f"{TRACES}/{trace_id(3).upper()}")
    found = reply.json()
    assert reply.status_code == 200
    assert (found["trace_id"], found["complete"], found["truncated"]) == (trace_id(3), True, False)
    [span] = found["spans"]
    documented = {
        "span_id", "parent_span_id", "name", "service", "kind", "start", "end", "duration_ms", "status", "attributes",
        "events", "links",
    }  # fmt: skip
    assert documented <= span.keys()
    assert (span["name"], span["service"], span["parent_span_id"]) == ("work", "parser", None)


async def test_an_unknown_and_a_foreign_trace_get_the_same_404(http: httpx.AsyncClient) -> None:
    """INVARIANT: a tenant sees only its own; an id that somebody else has looks like one that nobody has."""
    foreign, unknown = [await http.get(f"{TRACES}/{trace_id(number)}") for number in (99, 98)]
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    said = [
        reply.text.replace(trace_id(number), "ID").replace(reply.json()["trace_id"], "OWN")
        for reply, number in ((foreign, 99), (unknown, 98))
    ]
    assert said[0] == said[1]
    assert foreign.json()["code"] == "trace_not_found"


async def test_traces_are_listed_by_page_and_filter(http: httpx.AsyncClient) -> None:
    first = (await http.get(TRACES, params={"limit": 4})).json()
    assert [int(item["trace_id"], 16) for item in first["items"]] == [10, 9, 8, 7]
    second = (await http.get(TRACES, params={"limit": 500, "cursor": first["next_cursor"]})).json()
    assert [int(item["trace_id"], 16) for item in second["items"]] == [6, 5, 4, 3, 2, 1]
    assert second["next_cursor"] is None
    failed = (await http.get(TRACES, params={"error": "true", "service": "parser", "min_ms": 5})).json()
    assert [int(item["trace_id"], 16) for item in failed["items"]] == [10]
    assert (await http.get(TRACES, params={"service": "agent"})).json()["items"] == []


@pytest.mark.parametrize(
    ("path", "params"),
    [
        (f"{TRACES}/not-an-id", {}),
        (TRACES, {"cursor": "nonsense"}),
        (TRACES, {"min_ms": "nan"}),
        (TRACES, {"limit": "0"}),
        (TRACES, {"error": "perhaps"}),
    ],
)
async def test_what_makes_no_sense_is_named(http: httpx.AsyncClient, path: str, params: dict[str, str]) -> None:
    reply = await http.get(path, params=params)
    assert reply.status_code == 422, reply.text
    assert reply.json()["code"] in ("invalid_request", "invalid_cursor")
