"""The outermost layer of every request: its trace, its duration, and the last resort when something breaks."""

import time
from contextlib import AbstractContextManager
from typing import Final

from opentelemetry.metrics import Histogram, Meter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.hardening import security_headers
from services.gateway.problems import internal_error
from shared import semantics
from shared.logs import get_logger, log_scope
from shared.telemetry import current_trace_id, span, unrecorded_span

log = get_logger(__name__)

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED_ROUTE: Final = "unmatched"
# Probes and an open console come every second or so, and looking at traces shall not make new ones, unless the caller
# has begun one himself.
UNRECORDED: Final = (
    "/live",
    "/ready",
    "/metrics",
    "/health",
    "/v1/traces",
    "/v1/admin/pipeline",
    "/v1/me",
    "/console/",
)
UNRECORDED_PAGES: Final = frozenset({"/", "/docs"})
# Routes of a process's own, which are templates themselves; the framework names those of the API alone.
_OWN_ROUTES: Final = frozenset({"/live", "/ready", "/metrics"})
# The buckets that OpenTelemetry's conventions advise for this metric.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 60.0)
_TRACE_HEADERS: Final = frozenset({b"traceparent", b"tracestate"})


def request_duration(meter: Meter) -> Histogram:
    """Return the instrument that counts and times every request."""
    return meter.create_histogram(
        "http.server.request.duration",
        unit="s",
        description="Time to answer an HTTP request, by route and status.",
        explicit_bucket_boundaries_advisory=_SECONDS,
    )


class Edge:
    """Continues or starts a trace, names it in `X-Trace-Id`, and turns an unexpected error into a plain 500."""

    def __init__(self, app: ASGIApp, tracer: Tracer, duration: Histogram) -> None:
        self._app = app
        self._tracer = tracer
        self._duration = duration

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        with self._span(scope, method) as current:
            trace_id = current_trace_id()
            answer = _Answer(scope, send, trace_id)
            with log_scope(method=method, correlation_id=trace_id):
                await self._serve(scope, receive, answer)
            route = _route_of(scope)
            _describe(current, method, route, answer.status)
            labels = {semantics.HTTP_METHOD: method, semantics.HTTP_ROUTE: route, semantics.HTTP_STATUS: answer.status}
            # Within the span, so that the figures can name its trace.
            self._duration.record(time.perf_counter() - started, labels)

    def _span(self, scope: Scope, method: str) -> AbstractContextManager[Span]:
        headers = _trace_headers(scope)
        path = scope["path"]
        if not headers and (path in UNRECORDED_PAGES or path.startswith(UNRECORDED)):
            return unrecorded_span()
        return span(self._tracer, method, SpanKind.SERVER, headers=headers)

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            await self._app(scope, receive, answer.send)
        except Exception as error:  # The boundary: nothing behind it may reach the caller as a traceback.
            log.error("request_fault", path=scope["path"], exc_info=error)
            if not answer.status:
                await internal_error()(scope, receive, answer.send)


class _Answer:
    """Sends an answer with the headers that all answers have; `status` is 0 until it starts."""

    def __init__(self, scope: Scope, send: Send, trace_id: str) -> None:
        self._scope = scope
        self._send = send
        self._trace_header = (b"x-trace-id", trace_id.encode())
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = list(message.get("headers", ()))
            message = {**message, "headers": [*own, self._trace_header, *security_headers(self._scope, own)]}
        await self._send(message)


def _trace_headers(scope: Scope) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _TRACE_HEADERS}


def _route_of(scope: Scope) -> str:
    """Return the template of the route that served a request: never a path that a caller made up."""
    found: str | None = getattr(scope.get("route"), "path", None)
    return found or (scope["path"] if scope["path"] in _OWN_ROUTES else UNMATCHED_ROUTE)


def _describe(current: Span, method: str, route: str, status: int) -> None:
    if not current.is_recording():
        return
    current.update_name(semantics.served(method, route))
    current.set_attributes({semantics.HTTP_METHOD: method, semantics.HTTP_ROUTE: route, semantics.HTTP_STATUS: status})
    if status >= 500:
        current.set_status(Status(StatusCode.ERROR))
