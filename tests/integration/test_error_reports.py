"""Unexpected errors reach Sentry's endpoint, from real processes, by the real library; nothing else does."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts import subjects
from contracts.codec import encode
from contracts.reads import CollectionsQuery
from shared.settings import PROJECT_ROOT
from tests.integration.failing_service import WORDS
from tests.running import client_of, eventually
from tests.sentry_ingest import PUBLIC_KEY, SentryIngest, sentry_ingest
from tests.servers import NatsServer, child_environment, free_port, provisioned_nats_server

PASSWORD = "a-planted-password"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
FLUSH_SECONDS = 1.0


@pytest.fixture(scope="module")
def broker() -> Iterator[NatsServer]:
    with provisioned_nats_server() as server:
        yield server


@pytest.fixture
def ingest() -> Iterator[SentryIngest]:
    with sentry_ingest() as running:
        yield running


@asynccontextmanager
async def failing(
    service: str, broker: NatsServer, ingest: SentryIngest, data: Path
) -> AsyncIterator[tuple[subprocess.Popen[bytes], httpx.AsyncClient]]:
    """Run a failing service as a process of its own until the block ends."""
    port = free_port()
    environment = child_environment(
        RAG_NATS_URL=broker.url,
        RAG_NATS_USER="somebody",
        RAG_NATS_PASSWORD=PASSWORD,
        RAG_PORT=str(port),
        RAG_DATA_DIR=str(data),
        RAG_INSTANCE=f"{service}-7",
        RAG_SENTRY_DSN=ingest.dsn,
        RAG_SENTRY_FLUSH_SECONDS=str(FLUSH_SECONDS),
        RAG_REQUEST_TIMEOUT_SECONDS="1",
        RAG_DRAIN_SECONDS="2",
    )
    command = [sys.executable, "-m", "tests.integration.failing_service", service]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stderr=subprocess.PIPE)  # noqa: ASYNC220
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:

            async def ready() -> bool:
                assert process.poll() is None, process.stderr and process.stderr.read().decode()
                try:
                    return (await http.get("/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, f"{service} is ready", 60)
            yield process, http
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


async def reported(ingest: SentryIngest) -> dict[str, Any]:
    """Return the one report that came."""
    [event] = await eventually(ingest.events, "an error is reported", 30)
    return event


def assert_nothing_of_anybody(ingest: SentryIngest, event: dict[str, Any]) -> None:
    sent = b"".join(ingest.raw).replace(PUBLIC_KEY.encode(), b"")
    for planted in (WORDS, PASSWORD, "127.0.0.1"):
        assert planted.encode() not in sent, planted
    assert not {"user", "breadcrumbs", "extra", "spans"} & event.keys()
    frames = [frame for value in event["exception"]["values"] for frame in value["stacktrace"]["frames"]]
    assert not any("vars" in frame for frame in frames)
    assert ingest.item_types() == {"event"}


async def test_the_gateway_reports_its_faults_and_not_what_callers_do_wrong(
    broker: NatsServer, ingest: SentryIngest, tmp_path: Path
) -> None:
    async with failing("gateway", broker, ingest, tmp_path) as (process, http):
        answers = [
            await http.get("/v1/nothing"),
            await http.post("/v1/search", json={"query": ""}),
            await http.post("/v1/search", content=b"not json", headers={"content-type": "application/json"}),
            await http.post("/v1/search", json={"query": f"{WORDS}?"}),
            await http.get("/v1/collections", params={"q": WORDS}, headers={"traceparent": TRACEPARENT}),
        ]
        assert [answer.status_code for answer in answers] == [404, 422, 400, 503, 500]
        event = await reported(ingest)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0
        assert process.stderr is not None
        log = process.stderr.read().decode()
    assert ("request_fault" in log, "fail_in_gateway" in log, WORDS in log, PASSWORD in log) == (
        True,
        True,
        False,
        False,
    )
    assert len(ingest.events()) == 1
    assert event["tags"] | {"service": "gateway", "event": "request_fault", "trace_id": TRACE} == event["tags"]
    assert event["transaction"] == "/v1/collections"
    assert event["request"] == {"method": "GET"}
    assert (event["server_name"], event["environment"]) == ("gateway-7", "production")
    [value] = event["exception"]["values"]
    assert (value["type"], value["value"]) == ("KeyError", "")
    assert value["stacktrace"]["frames"][-1]["function"] == "fail_in_gateway"
    assert_nothing_of_anybody(ingest, event)


async def test_a_worker_reports_its_faults_and_not_what_it_refuses(
    broker: NatsServer, ingest: SentryIngest, tmp_path: Path
) -> None:
    async with failing("persistence", broker, ingest, tmp_path) as (_, _http), client_of(broker.url) as client:
        refused = await client.request(subjects.READ_COLLECTIONS, b"{}", timeout=10)
        assert (refused.headers or {})[subjects.HEADER_ERROR] == "invalid_message"
        headers = {"traceparent": TRACEPARENT, subjects.HEADER_CORRELATION_ID: "request-7"}
        query = encode(CollectionsQuery(tenant="acme"))
        failed = await client.request(subjects.READ_COLLECTIONS, query, timeout=10, headers=headers)
        assert (failed.headers or {})[subjects.HEADER_ERROR] == "internal_error"
        event = await reported(ingest)
    tags = {"service": "persistence", "subject": "rag.v1.read.collections", "trace_id": TRACE}
    assert event["tags"] | tags | {"correlation_id": "request-7"} == event["tags"]
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["function"] == "fail_in_sql"
    assert_nothing_of_anybody(ingest, event)


async def test_the_end_of_a_process_waits_for_its_last_report_and_not_for_ever(
    broker: NatsServer, ingest: SentryIngest, tmp_path: Path
) -> None:
    ingest.answering.clear()
    async with failing("gateway", broker, ingest, tmp_path) as (process, http):
        assert (await http.get("/v1/collections")).status_code == 500
        assert await asyncio.to_thread(ingest.asked.wait, 20)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0
        assert time.monotonic() - started >= FLUSH_SECONDS


EVERY_KIND = """
import asyncio
from shared.error_reports import configure_error_reports, flush_error_reports
from shared.errors import Misconfigured, Rejected, RemoteFault, Unavailable
from shared.logs import configure_logging, get_logger
from shared.settings import PlatformSettings

settings = PlatformSettings()
configure_logging(settings, "parser")
configure_error_reports(settings, "parser")
log = get_logger("services.parser.x")
for error in (Rejected("x"), Unavailable("x"), RemoteFault("x"), asyncio.CancelledError()):
    log.error("expected", exc_info=error)
log.critical("start_failed", reason=Misconfigured("x"))
log.warning("warned", exc_info=ValueError("x"))
log.error("message_lost", hint="send it again")
log.error("fault", exc_info=ValueError("x"))
flush_error_reports()
"""


def test_errors_are_reported_with_and_without_an_exception_and_expected_ones_are_not(ingest: SentryIngest) -> None:
    environment = child_environment(RAG_SENTRY_DSN=ingest.dsn)
    command = [sys.executable, "-c", EVERY_KIND]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert [event["tags"]["event"] for event in ingest.events()] == ["message_lost", "fault"]


def test_without_a_project_the_library_is_not_even_imported() -> None:
    script = (
        "import sys; from shared.settings import PlatformSettings\n"
        "from shared.error_reports import configure_error_reports, flush_error_reports\n"
        "import services.gateway.app, services.persistence.app\n"
        "configure_error_reports(PlatformSettings(), 'gateway'); flush_error_reports()\n"
        "assert not [name for name in sys.modules if name.startswith('sentry_sdk')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT_ROOT, env=child_environment(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
