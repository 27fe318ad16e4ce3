"""Logs are events: a constant snake_case name, identifiers as fields, context bound once per message or request.

Our lines and those of libraries leave the process through one pipeline. What it never lets through, unless
RAG_LOG_CONTENT is set: words of errors that may hold data (see `shared/privacy.py`), fields that hold content, and the
free text of libraries. Secrets never pass, whatever is set.
"""

import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import Any, Final, TextIO

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor

from shared.library_logs import LibraryRecords, quieten_libraries
from shared.privacy import in_words, traceback_of
from shared.secrets import Secrets
from shared.settings import PlatformSettings
from shared.telemetry_context import current_tenant

OUR_PACKAGES: Final = ("services", "shared", "contracts")
# What a field of these names holds belongs to a tenant.
CONTENT_FIELDS: Final = frozenset(
    (
        "answer",
        "arguments",
        "body",
        "child_stderr",
        "content",
        "payload",
        "prompt",
        "query",
        "question",
        "text",
        "title",
    )
)
_BOUND: Final[ContextVar[Mapping[str, Any]]] = ContextVar("rag_log_fields", default=MappingProxyType({}))


def configure_logging(settings: PlatformSettings, service: str, stream: TextIO | None = None) -> None:
    """Send every log line of the process, ours and the libraries', to stderr in one format."""
    stream = stream or sys.stderr
    shared_steps: list[Processor] = [
        _add_bound,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_whose,
    ]
    levels = settings.logger_levels
    least = min(_number(settings.log_level), *map(_number, levels.values())) if levels else _number(settings.log_level)
    structlog.configure(
        processors=[*shared_steps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(least),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            pass_foreign_args=True,
            foreign_pre_chain=[LibraryRecords(content=settings.log_content), *shared_steps],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _Service(service, settings.instance),
                _Privacy(content=settings.log_content),
                *_rendering(settings, stream),
                _WithoutSecrets(Secrets(settings)),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    quieten_libraries(settings)
    for name in OUR_PACKAGES:
        logging.getLogger(name).setLevel(settings.log_level.upper())
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level.upper())
    _catch_what_nobody_catches()


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger whose calls name an event and its fields."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


@contextmanager
def log_scope(**fields: Any) -> Iterator[None]:
    """Bind fields to every line of a block; whatever is bound meanwhile ends with it, and nothing from before shows.

    A worker's task handles one message after the other: what one has bound must not stand on the lines of the next.
    """
    # Structlog keeps a variable for each field and looks through all of a task's: 13 µs a message, this takes one.
    before = _BOUND.set(fields)
    try:
        yield
    finally:
        _BOUND.reset(before)


def bind_document(about: object) -> None:
    """Have the lines of this message or request name a document: an id, or that of what a message is about, if any."""
    document_id = about if isinstance(about, str) else getattr(about, "document_id", None)
    if document_id is None and (derive := getattr(about, "derived_id", None)) is not None:
        document_id = derive()
    if isinstance(document_id, str):
        _BOUND.set({**_BOUND.get(), "document_id": document_id})


def bound_field(name: str) -> str | None:
    """Return what is bound under a name to the lines of the current work, None when nothing is."""
    value = _BOUND.get().get(name)
    return value if isinstance(value, str) else None


def _add_bound(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {**_BOUND.get(), **event}


class _Service:
    def __init__(self, service: str, instance: str) -> None:
        self._fields = {"service": service, "instance": instance}

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        return {**event, **self._fields}


class _Privacy:
    """Turns errors into what may be told of them, and leaves out fields that hold content."""

    def __init__(self, *, content: bool) -> None:
        self._content = content

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        error = _error_of(event.pop("exc_info", None))
        told = {name: self._told(name, value) for name, value in event.items()}
        if error is not None:
            told["error_type"] = type(error).__name__
            told["exception"] = traceback_of(error, content=self._content)
        return told

    def _told(self, name: str, value: Any) -> Any:
        if isinstance(value, BaseException):
            return in_words(value, content=self._content)
        return "(not logged)" if name in CONTENT_FIELDS and not self._content else value


class _WithoutSecrets:
    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def __call__(self, _logger: Any, _method: str, line: Any) -> Any:
        return self._secrets.hidden_in(str(line))


def _error_of(given: Any) -> BaseException | None:
    """Return the error that `exc_info` stands for, in any of the ways in which logging takes it."""
    if given is True:
        given = sys.exc_info()
    if isinstance(given, tuple):
        given = given[1]
    return given if isinstance(given, BaseException) else None


def _add_whose(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Name the trace and the tenant of the work, which its span carries."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
    tenant = current_tenant()
    if tenant is not None:
        event.setdefault("tenant", tenant)
    return event


def _rendering(settings: PlatformSettings, stream: TextIO) -> list[Processor]:
    console = settings.log_format == "console" or (settings.log_format == "auto" and stream.isatty())
    if not console:
        return [structlog.processors.JSONRenderer(default=repr)]
    return [structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, sort_keys=False)]


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _catch_what_nobody_catches() -> None:
    """Log warnings and uncaught errors: Python prints them in full, with what they stumbled over."""
    log = get_logger(__name__)

    def on_error(_kind: type[BaseException], error: BaseException, _where: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            return
        log.critical("process_fault", exc_info=error)

    def on_thread_error(failed: threading.ExceptHookArgs) -> None:
        name = failed.thread.name if failed.thread else None
        if not issubclass(failed.exc_type, SystemExit):
            log.error("thread_fault", thread=name, exc_info=failed.exc_value)

    def on_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        log.warning("python_warning", category=category.__name__, at=f"{filename}:{lineno}", text=str(message))

    sys.excepthook = on_error
    threading.excepthook = on_thread_error
    warnings.showwarning = on_warning
