"""From a point on a curve to the trace behind it: a real platform, scraped by a real Prometheus."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests import prometheus_server
from tests.platform_process import RunningPlatform, running_platform

T = TypeVar("T")
PATIENCE_SECONDS = 40.0
# What there must be once a document was indexed, found, and a question about it was answered twice.
FIGURES = {
    "gateway": (
        "http_server_request_duration_seconds_count",
        "rag_consumer_pending",
        "rag_consumer_ack_pending",
        "rag_consumer_redelivered",
        "rag_consumer_backlog_age_seconds",
        "rag_streams_open",
        "rag_loop_lag_seconds_count",
    ),
    "parser": (
        "rag_messages_processed_total",
        "rag_messages_waiting_seconds_count",
        "rag_parser_turn_wait_seconds_count",
    ),
    "embedder": ("messaging_process_duration_seconds_count", "rag_batch_size_count", "rag_messages_redelivered_total"),
    "retriever": (
        "rag_searches_duration_seconds_count",
        "rag_index_points",
        "rag_index_size_bytes",
        "rag_cache_requests_total",
        "rag_requests_duration_seconds_count",
    ),
    "agent": (
        "rag_queries_duration_seconds_count",
        "rag_queries_first_delta_seconds_count",
        "rag_llm_requests_total",
        "rag_llm_tokens_total",
        "rag_llm_cost_total",
    ),
    "persistence": (
        "db_client_operation_duration_seconds_count",
        "rag_documents",
        "rag_chunks",
        "rag_documents_oldest_unfinished_seconds",
        "rag_dead_letters_arrived_total",
        "rag_dead_letters_kept",
        "rag_batch_size_count",
        "rag_reconcile_passes_total",
        "rag_drains_total",
    ),
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with running_platform(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture(scope="module")
def traces(platform: RunningPlatform) -> dict[str, str]:
    """Use the platform and return the trace of each request by its path."""
    text = "The harbour of Lindby opened in 1931 and is forty metres deep."
    sent = {
        "/v1/documents?wait_s=30": {"documents": [{"id": "harbour", "collection": "ports", "text": text}]},
        "/v1/search": {"query": "harbour", "top_k": 3},
        "/v1/query": {"question": "When did the harbour of Lindby open?"},
    }
    found = {}
    with httpx.Client(base_url=platform.url, timeout=60) as http:
        for path, body in [*sent.items(), list(sent.items())[-1]]:
            response = http.post(path, json=body).raise_for_status()
            found[path.partition("?")[0]] = response.headers["X-Trace-Id"]
    return found


def figures(url: str) -> set[str]:
    text = httpx.get(f"{url}/metrics").raise_for_status().text
    return {line.partition(" ")[0].partition("{")[0] for line in text.splitlines() if not line.startswith("#")}


@pytest.mark.parametrize("service", sorted(FIGURES))
def test_every_figure_of_a_service_is_there(platform: RunningPlatform, traces: dict[str, str], service: str) -> None:
    wanted, url = set(FIGURES[service]), platform.ready["health"][service]
    eventually(lambda: wanted <= figures(url), lambda: f"{service} lacks {sorted(wanted - figures(url))}")


@pytest.mark.skipif(prometheus_server.missing() is not None, reason=str(prometheus_server.missing()))
def test_prometheus_leads_from_a_bucket_to_a_trace_that_can_be_read(
    platform: RunningPlatform, traces: dict[str, str], tmp_path: Path
) -> None:
    with prometheus(tmp_path, platform.ready["health"]) as api:
        for metric, path in (
            ("http_server_request_duration_seconds_bucket", "/v1/search"),
            ("rag_queries_duration_seconds_bucket", "/v1/query"),
            ("messaging_process_duration_seconds_bucket", "/v1/documents"),
        ):
            found = eventually(partial(exemplars, api, metric), partial("no exemplar of {}".format, metric))
            assert traces[path] in found, metric
    read = httpx.get(f"{platform.url}/v1/traces/{traces['/v1/query']}").raise_for_status().json()
    assert {"gateway", "agent", "retriever"} <= {span["service"] for span in read["spans"]}


def exemplars(api: httpx.Client, metric: str) -> set[str]:
    """Return the traces that Prometheus has for a metric."""
    now = time.time()
    arguments: dict[str, str | float] = {"query": metric, "start": now - 600, "end": now + 60}
    series = api.get("/api/v1/query_exemplars", params=arguments).raise_for_status().json()["data"]
    return {one["labels"]["trace_id"] for each in series for one in each["exemplars"]}


@contextmanager
def prometheus(folder: Path, addresses: dict[str, str]) -> Iterator[httpx.Client]:
    """Run a Prometheus that scrapes every process each second until the block ends."""
    targets = [
        {"targets": [url.removeprefix("http://")], "labels": {"process": name}} for name, url in addresses.items()
    ]
    jobs = {"scrape_configs": [{"job_name": "rag", "scrape_interval": "1s", "static_configs": targets}]}
    with (
        prometheus_server.server(folder, jobs, "--enable-feature=exemplar-storage") as url,
        httpx.Client(base_url=url) as api,
    ):
        yield api


def eventually(look: Callable[[], T], claim: Callable[[], Any]) -> T:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, claim()
        time.sleep(0.2)
    return found
