"""Logs are events: a constant snake_case name, identifiers as fields, context bound once per message."""

import logging
import sys
from typing import Any

import structlog
from opentelemetry import trace

from shared.settings import PlatformSettings

_NOISY_LOGGERS = ("httpx", "httpcore", "openai", "mcp", "uvicorn.access", "faststream", "alembic")


def configure_logging(settings: PlatformSettings, service: str) -> None:
    """Send every log line of the process, ours and the libraries', to stderr in one format."""
    shared_steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace_id,
    ]
    structlog.configure(
        processors=[*shared_steps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_steps,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _Service(service, settings.instance),
                *_rendering(settings),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    faststream = logging.getLogger("faststream")
    faststream.handlers[:] = []
    faststream.addFilter(_is_no_idle_fetch)
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Uvicorn repeats, with a traceback, why a start failed; the service has said so in one line.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger whose calls name an event and its fields."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def _is_no_idle_fetch(record: logging.LogRecord) -> bool:
    """nats-py ends some idle fetches with a TimeoutError; FastStream starts the next one, but logs a fault."""
    return not (record.exc_info and record.exc_info[0] and issubclass(record.exc_info[0], TimeoutError))


class _Service:
    def __init__(self, service: str, instance: str) -> None:
        self._fields = {"service": service, "instance": instance}

    def __call__(self, _logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, **self._fields}


def _add_trace_id(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
    return event


def _rendering(settings: PlatformSettings) -> list[structlog.typing.Processor]:
    if settings.log_format == "console":
        return [_console()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _console() -> structlog.dev.ConsoleRenderer:
    # The default traceback shows local variables, and with them documents and passwords.
    plain = structlog.dev.plain_traceback
    return structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, sort_keys=False, exception_formatter=plain)
