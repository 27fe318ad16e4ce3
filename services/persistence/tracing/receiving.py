"""`POST /v1/traces`: OTLP/HTTP as exporters and collectors speak it, protobuf with or without gzip.

What is accepted waits in a bounded queue to be written. An exporter that comes faster than that is told to come later.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from services.persistence.settings import PersistenceSettings
from services.persistence.tracing.bodies import TOO_LARGE, read, unpack
from services.persistence.tracing.otlp import parse
from services.persistence.tracing.span_writer import SpanWriter
from shared.errors import Overloaded, Rejected

PROTOBUF: Final = "application/x-protobuf"
READ_SECONDS: Final = 10.0
RETRY_AFTER_SECONDS: Final = 1
# Each holds a body of its own until it is queued.
MAX_RECEIVING: Final = 8
_STATUSES: Final = {TOO_LARGE: 413, "unsupported_encoding": 415, "unsupported_media_type": 415}


class SpanReceiver:
    """Takes spans while a writer is open; before and after that it asks for patience."""

    def __init__(self, settings: PersistenceSettings) -> None:
        self._max_body_bytes = settings.persistence_spans_max_body_bytes
        self._max_unpacked_bytes = settings.persistence_spans_max_unpacked_bytes
        self._receiving = 0
        self.writer: SpanWriter | None = None

    def routes(self) -> list[Route]:
        """Return the route that the process serves beside its health."""
        return [Route("/v1/traces", self.receive, methods=["POST"])]

    @contextmanager
    def receiving_for(self, writer: SpanWriter) -> Iterator[None]:
        """Take spans for a writer while the block runs."""
        self.writer = writer
        try:
            yield
        finally:
            self.writer = None

    async def receive(self, request: Request) -> Response:
        """Queue the spans of a request."""
        try:
            await self._take(request)
        except Overloaded as error:
            return _refusal(503, error.message, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        except Rejected as error:
            return _refusal(_STATUSES.get(error.error_code, 400), error.message)
        except ClientDisconnect:
            return _refusal(400, "the connection closed in the middle of the body")
        except TimeoutError:
            return _refusal(408, f"the body did not come within {READ_SECONDS:g} s")
        return Response(ExportTraceServiceResponse().SerializeToString(), media_type=PROTOBUF)

    async def _take(self, request: Request) -> None:
        if self.writer is None or self._receiving >= MAX_RECEIVING or self.writer.is_full:
            raise Overloaded("the span store takes no more at the moment")
        _check_type(request)
        self._receiving += 1
        try:
            async with asyncio.timeout(READ_SECONDS):
                body = await read(request.stream(), self._max_body_bytes)
            encoding = request.headers.get("content-encoding", "").strip().lower()
            # On a thread: the loop has documents to record.
            message, size = await asyncio.to_thread(self._read, body, encoding)
            if self.writer is None or not self.writer.offer(message, size):
                raise Overloaded("the span store takes no more at the moment")
        finally:
            self._receiving -= 1

    def _read(self, body: bytes, encoding: str) -> tuple[ExportTraceServiceRequest, int]:
        unpacked = unpack(body, encoding, self._max_unpacked_bytes)
        return parse(unpacked), len(unpacked)


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != PROTOBUF:
        raise Rejected(f"Content-Type must be {PROTOBUF}, found {kind!r}", code="unsupported_media_type")


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return what OTLP/HTTP asks for: a google.rpc.Status, whose message exporters log."""
    return Response(Status(message=message).SerializeToString(), status, headers, media_type=PROTOBUF)
