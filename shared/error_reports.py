"""Unexpected errors, reported to Sentry where RAG_SENTRY_DSN names a project; without it the library is not imported.

What is reported is what the log calls an error: one place decides for both. Expected errors are none: what the platform
raises by design, what a caller did wrong, what was cancelled. A report holds frames without local variables, the event,
the route, and as tags what finds the rest: trace, service, consumer, code. It holds no request, no address, no user,
and words of errors as the log does (`shared/privacy.py`). Spans are OpenTelemetry's business alone.
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from shared.errors import PlatformError
from shared.privacy import words_of
from shared.secrets import Secrets
from shared.settings import PlatformSettings
from shared.version import VERSION

if TYPE_CHECKING:
    from sentry_sdk.integrations import Integration
    from sentry_sdk.types import Event, Hint

_EXPECTED: Final = (PlatformError, asyncio.CancelledError, KeyboardInterrupt, SystemExit)
# By name: this module knows no web framework. It is how Starlette says that a caller left in the middle.
_EXPECTED_NAMES: Final = frozenset(("ClientDisconnect",))
_TAGS: Final = ("code", "consumer", "correlation_id", "subject", "method")
_LEFT_OUT: Final = ("user", "extra", "breadcrumbs", "modules", "spans")
_SERVER_ERROR: Final = 500


def configure_error_reports(settings: PlatformSettings, service: str) -> None:
    """Report from now on what is logged as an error; call it before the application is built, and after the log is."""
    if settings.sentry_dsn is None:
        return
    import sentry_sdk  # 60 ms, which a process without reports shall not spend.

    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        release=f"rag-platform@{VERSION}",
        environment=settings.sentry_environment,
        server_name=settings.instance,
        # What is on by default reports log lines as they are, arguments, and spans.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=_integrations(service),
        before_send=_BeforeSend(settings),
        include_local_variables=False,
        send_default_pii=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        traces_sample_rate=None,
        trace_propagation_targets=[],
        auto_session_tracking=False,
        send_client_reports=False,
        enable_backpressure_handling=False,
        enable_metrics=False,
        spotlight=False,
    )
    logging.getLogger().addHandler(ErrorReports(service, flush_seconds=settings.sentry_flush_seconds))


def flush_error_reports() -> None:
    """Wait, within the configured bound, until what was reported is sent."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, ErrorReports):
            handler.send_now()


class ErrorReports(logging.Handler):
    """Reports each log line of level ERROR or above that is no expected error."""

    def __init__(self, service: str, *, flush_seconds: float) -> None:
        super().__init__(logging.ERROR)
        self._service, self._flush_seconds = service, flush_seconds

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a report to the library, which sends it from a thread of its own; at most a hundred wait there."""
        if record.name.startswith("sentry_sdk"):
            return
        fields = record.msg if isinstance(record.msg, dict) else {}
        error = _error_of(fields.get("exc_info") or record.exc_info)
        if error is None and (not fields or isinstance(fields.get("reason"), BaseException)):
            return  # A library's own words, or an expected failure that somebody was told of.
        self._report(fields, error)
        if record.levelno >= logging.CRITICAL:
            self.send_now()  # The process is about to end, perhaps at once.

    def send_now(self) -> None:
        """Wait, within the bound, until what was reported is sent."""
        import sentry_sdk

        sentry_sdk.flush(timeout=self._flush_seconds)

    def _report(self, fields: dict[str, Any], error: BaseException | None) -> None:
        import sentry_sdk

        with sentry_sdk.new_scope() as scope:
            scope.set_tag("service", self._service)
            scope.set_tag("event", fields.get("event", "library_message"))
            for name in _TAGS:
                if (value := fields.get(name)) is not None:
                    scope.set_tag(name, str(value))
            if error is not None:
                sentry_sdk.capture_exception(error, scope=scope)
            else:
                sentry_sdk.capture_message(str(fields["event"]), level="error", scope=scope)


class _BeforeSend:
    """Drops what is expected, takes out what is not for others, and names the trace."""

    def __init__(self, settings: PlatformSettings) -> None:
        self._content = settings.log_content
        self._secrets = Secrets(settings)

    def __call__(self, event: "Event", hint: "Hint") -> "Event | None":
        error = _error_of(hint.get("exc_info"))
        if error is not None and is_expected(error):
            return None
        report: dict[str, Any] = {name: value for name, value in event.items() if name not in _LEFT_OUT}
        if "request" in report:
            report["request"] = {"method": report["request"].get("method")}
        if error is not None:
            self._tell_words(report, error)
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            report["tags"] = {**(report.get("tags") or {}), "trace_id": format(context.trace_id, "032x")}
        cleaned: Event = self._secrets.hidden_in_all(report)
        return cleaned

    def _tell_words(self, report: dict[str, Any], error: BaseException) -> None:
        words = {(type(one).__name__, str(one)): words_of(one, content=self._content) for one in _family(error)}
        for value in (report.get("exception") or {}).get("values", ()):
            value["value"] = words.get((value.get("type"), value.get("value")), "")


def is_expected(error: BaseException) -> bool:
    """Tell whether an error is part of how things go, and nobody has to mend anything."""
    if isinstance(error, _EXPECTED) or type(error).__name__ in _EXPECTED_NAMES:
        return True
    status = getattr(error, "status_code", None)
    return isinstance(status, int) and type(error).__name__ == "HTTPException" and status < _SERVER_ERROR


def _family(error: BaseException, known: set[int] | None = None) -> Iterator[BaseException]:
    """Yield an error, what led to it, and its members."""
    known = set() if known is None else known
    if id(error) in known:
        return
    known.add(id(error))
    yield error
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for other in (error.__cause__, error.__context__, *members):
        if other is not None:
            yield from _family(other, known)


def _error_of(given: Any) -> BaseException | None:
    if isinstance(given, tuple):
        given = given[1]
    return given if isinstance(given, BaseException) else None


def _integrations(service: str) -> "list[Integration]":
    """Return what the library has for the frameworks of a service; importing more would cost memory in each process."""
    from sentry_sdk.integrations.dedupe import DedupeIntegration

    found: list[Integration] = [DedupeIntegration()]
    if service == "gateway":
        from sentry_sdk.integrations.fastapi import FastApiIntegration
        from sentry_sdk.integrations.starlette import StarletteIntegration

        web: dict[str, Any] = {
            "transaction_style": "url",
            "failed_request_status_codes": set(),
            "middleware_spans": False,
        }
        found += [StarletteIntegration(**web), FastApiIntegration(**web)]
    if service == "persistence":
        from sentry_sdk.integrations.sqlalchemy import SqlalchemyIntegration

        found.append(SqlalchemyIntegration())
    return found
