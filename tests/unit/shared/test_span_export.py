"""Sending spans away: nobody waits for whoever takes them."""

import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from shared.settings import PlatformSettings
from shared.span_export import SpanExport
from shared.telemetry import Telemetry, span

NOBODY = "http://127.0.0.1:9"


class Counted(SpanExport):
    """Remembers what was dropped."""

    def __init__(self, endpoint: str, **settings: Any) -> None:
        self.lost: dict[str, int] = {}
        super().__init__(PlatformSettings(otlp_endpoint=endpoint, **settings), NoOpMeter("test"))

    def dropped(self, reason: str, spans: int) -> None:
        self.lost[reason] = self.lost.get(reason, 0) + spans
        super().dropped(reason, spans)


class Collector:
    """Takes spans, or stands still until it is told to go on."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.goes_on = Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = zlib.decompress(self.rfile.read(int(self.headers["Content-Length"])), 31)
                collector.goes_on.wait(20)
                message = ExportTraceServiceRequest.FromString(body)
                spans = [one for part in message.resource_spans for scope in part.scope_spans for one in scope.spans]
                collector.names += [one.name for one in spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = Thread(target=collector.server.serve_forever, args=(0.01,))
    thread.start()
    yield collector
    collector.goes_on.set()
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


def telemetry_of(export: SpanExport) -> Telemetry:
    provider = TracerProvider()
    provider.add_span_processor(export.processor)
    return Telemetry(provider.get_tracer("test"), NoOpMeter("test"), provider, MeterProvider(), export)


def work(telemetry: Telemetry, spans: int) -> float:
    started = time.perf_counter()
    for number in range(spans):
        with span(telemetry.tracer, f"work {number}"):
            pass
    return time.perf_counter() - started


def test_spans_are_sent_together_and_in_time(collector: Collector) -> None:
    collector.goes_on.set()
    telemetry = telemetry_of(Counted(collector.endpoint, otlp_delay_seconds=0.05))
    work(telemetry, 3)
    telemetry.shutdown()
    assert collector.names == ["work 0", "work 1", "work 2"]


def test_work_goes_on_beside_a_collector_that_stands_still_and_what_it_misses_is_counted(collector: Collector) -> None:
    """INVARIANT: nobody waits for spans to be taken. Else a slow collector would slow every service down."""
    export = Counted(collector.endpoint, otlp_queue_spans=512, otlp_delay_seconds=0.01, otlp_timeout_seconds=0.5)
    telemetry = telemetry_of(export)
    assert work(telemetry, 4_000) < 5
    assert export.lost["queue_full"] > 2_000
    collector.goes_on.set()
    telemetry.shutdown()


def test_a_process_ends_without_waiting_for_a_collector_that_is_gone() -> None:
    export = Counted(NOBODY, otlp_queue_spans=2_048, otlp_delay_seconds=60, otlp_timeout_seconds=1)
    telemetry = telemetry_of(export)
    work(telemetry, 2_000)
    started = time.monotonic()
    telemetry.shutdown()
    # One batch is tried, the others are not.
    assert time.monotonic() - started < 4
    assert sum(export.lost.values()) == 2_000
