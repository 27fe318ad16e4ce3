"""Sending spans away: in batches, beside the work, and never at its cost.

Whoever takes the spans may be slow or gone. Then they are dropped and counted, the log says so now and then, and
nothing waits for it but the end of the process, a moment.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Meter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from shared.logs import get_logger
from shared.settings import PlatformSettings
from shared.tls import context_of, tls_trouble

log = get_logger(__name__)

BATCH_SPANS: Final = 512
LOGGED_EVERY_SECONDS: Final = 60.0
START_SECONDS: Final = 60.0
TLS_SETTINGS: Final = "RAG_OTLP_TLS"
_PATH: Final = "/v1/traces"


class _CountingProcessor(BatchSpanProcessor):
    """Counts what its full queue drops."""

    def __init__(self, export: "SpanExport", settings: PlatformSettings) -> None:
        super().__init__(
            export,
            max_queue_size=settings.otlp_queue_spans,
            schedule_delay_millis=settings.otlp_delay_seconds * 1000,
            max_export_batch_size=min(BATCH_SPANS, settings.otlp_queue_spans),
        )
        self._owner, self._max_waiting = export, settings.otlp_queue_spans

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span."""
        if len(self._batch_processor._queue) >= self._max_waiting:
            self._owner.dropped("queue_full", 1)
        super().on_end(span)


class _Session(requests.Session):
    """The exporter's own client, but for what it keeps to itself: why a TLS handshake failed."""

    tls_trouble: str | None = None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, and remember what its handshake failed with."""
        try:
            response = super().send(request, **options)
        except requests.RequestException as error:
            self.tls_trouble = tls_trouble(error, TLS_SETTINGS)
            raise
        self.tls_trouble = None
        return response

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Let the setting decide whom to trust, where it does, and not a variable that other programs go by."""
        return super().merge_environment_settings(url, proxies, stream, verify or self.verify, cert)


class SpanExport(SpanExporter):
    """Sends batches to an OTLP/HTTP endpoint; Misconfigured where the files for it do not fit."""

    def __init__(self, settings: PlatformSettings, meter: Meter) -> None:
        self._endpoint = f"{(settings.otlp_endpoint or '').rstrip('/')}{_PATH}"
        self._session = _Session()
        # The exporter takes files, not a context; this one only tells at once what is wrong with them.
        context_of(settings, "otlp_tls", "otlp_endpoint")
        self._exporter = OTLPSpanExporter(
            endpoint=self._endpoint,
            timeout=settings.otlp_timeout_seconds,
            compression=Compression.Gzip,
            certificate_file=_path(settings.otlp_tls_ca),
            client_certificate_file=_path(settings.otlp_tls_cert),
            client_key_file=_path(settings.otlp_tls_key),
            session=self._session,
        )
        self._dropped = meter.create_counter(
            "rag.spans.dropped", unit="{span}", description="Spans that were not sent, by reason."
        )
        self._sent = meter.create_counter("rag.spans.sent", unit="{span}", description="Spans that were sent.")
        self._sent.add(0)
        for reason in ("queue_full", "not_taken"):
            self._dropped.add(0, {"reason": reason})
        self._logged_at = -LOGGED_EVERY_SECONDS
        self._started_at, self._taken_once = time.monotonic(), False
        self._closing = False
        self._gone = False
        self.processor = _CountingProcessor(self, settings)

    def close_soon(self) -> None:
        """Give up on the rest after the first batch that fails from now on."""
        self._closing = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; called on the processor's own thread."""
        if self._closing and self._gone:
            self.dropped("not_taken", len(spans))
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        self._gone = result is not SpanExportResult.SUCCESS
        if self._gone:
            self.dropped("not_taken", len(spans))
        else:
            self._taken_once = True
            self._sent.add(len(spans))
        return result

    def dropped(self, reason: str, spans: int) -> None:
        """Count spans that nobody will see; the log says so once a minute."""
        self._dropped.add(spans, {"reason": reason})
        now = time.monotonic()
        if not self._taken_once and now - self._started_at < START_SECONDS:
            # Under `rag up` whoever takes them starts at the same time.
            return
        if now - self._logged_at >= LOGGED_EVERY_SECONDS:
            self._logged_at = now
            told = {"trouble": self._session.tls_trouble} if self._session.tls_trouble else {}
            log.warning("spans_dropped", reason=reason, endpoint=self._endpoint, **told)

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)
