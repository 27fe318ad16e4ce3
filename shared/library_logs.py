"""The log records of libraries, on their way through our pipeline.

A library's record is free text: it may hold an address with its password, a body, or a caller's words. So libraries
are heard from WARNING on, and of what they say the place in the code is told, not the text, unless the library is known
to speak of itself alone. RAG_LOG_LEVELS names a library that shall say more, RAG_LOG_CONTENT shows its text.
"""

import logging
from typing import Any, Final

from structlog.typing import EventDict

from shared.settings import PlatformSettings

LIBRARY_EVENT: Final = "library_message"
# Their records hold no data of anybody: names of signals, revisions of tables, addresses without passwords.
_PLAIN: Final = ("uvicorn", "alembic")
# asyncio's first line is a constant, the next ones show what a task failed with.
_FIRST_LINE_ALONE: Final = ("asyncio",)
_OURS: Final = ("services", "shared", "contracts")
# What these say of each failed batch is said once a minute by `shared/span_export.py`.
_SAID_BY_US: Final = ("opentelemetry.exporter.otlp", "opentelemetry.sdk._shared_internal")
# Uvicorn repeats, with a traceback, why a start failed; the service has said so in one line.
_REPEATS: Final = ("uvicorn.error",)


def quieten_libraries(settings: PlatformSettings) -> None:
    """Hear libraries from WARNING on, through the root's handlers alone, whatever they set up for themselves."""
    level = max(logging.WARNING, logging.getLevelNamesMapping()[settings.log_level.upper()])
    logging.getLogger().setLevel(level)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if not isinstance(logger, logging.Logger) or name.partition(".")[0] in _OURS:
            continue
        logger.handlers[:] = []
        logger.propagate = True
        if logger.level < level:
            logger.setLevel(logging.NOTSET)
    faststream = logging.getLogger("faststream")
    faststream.handlers[:] = []
    faststream.setLevel(level)
    faststream.addFilter(_is_no_idle_fetch)
    for name in (*_SAID_BY_US, *_REPEATS):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class LibraryRecords:
    """Makes an event of a library's record: which library, where in its code, and its text where that may be told."""

    def __init__(self, *, content: bool) -> None:
        self._content = content

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        """Return the event of one record."""
        record: logging.LogRecord = event["_record"]
        text, arguments = str(event.pop("event")), event.pop("positional_args", None)
        event["event"] = LIBRARY_EVENT
        event["library"] = record.name
        event["at"] = f"{record.module}:{record.lineno}"
        if told := self._told(record, text, formatted=bool(arguments)):
            event["message"] = told
        return event

    def _told(self, record: logging.LogRecord, text: str, *, formatted: bool) -> str:
        if self._content or _is_of(record.name, _PLAIN):
            return text
        if _is_of(record.name, _FIRST_LINE_ALONE):
            return text.partition("\n")[0]
        # A format string is a constant of the code; a text without arguments may have been put together before.
        return str(record.msg) if formatted else ""


def _is_of(name: str, libraries: tuple[str, ...]) -> bool:
    return any(name == library or name.startswith(f"{library}.") for library in libraries)


def _is_no_idle_fetch(record: logging.LogRecord) -> bool:
    """nats-py ends some idle fetches with a TimeoutError; FastStream starts the next one, but logs a fault."""
    return not (record.exc_info and record.exc_info[0] and issubclass(record.exc_info[0], TimeoutError))
