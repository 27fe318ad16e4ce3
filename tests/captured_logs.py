"""The log of this process as an operator would read it, through the whole pipeline, for the time of a block."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import structlog

from shared.logs import configure_logging
from shared.settings import PlatformSettings

_TOUCHED = ("services", "shared", "contracts", "faststream", "openai", "httpx", "uvicorn.error")
_CONFIGURE = structlog.configure


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Leave the process's logging as it was before the block."""
    root = logging.getLogger()
    handlers, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook, warnings.showwarning)
    before = structlog.get_config()
    levels = {name: logging.getLogger(name).level for name in _TOUCHED}
    try:
        with patch.object(structlog, "configure", _configure_for_a_while):
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.excepthook, threading.excepthook, warnings.showwarning = hooks
        structlog.configure(**before)
        for name, was in levels.items():
            logging.getLogger(name).setLevel(was)


def _configure_for_a_while(**options: Any) -> None:
    # A logger that remembers its first use would go on as in the block, in every later test of the process.
    _CONFIGURE(**{**options, "cache_logger_on_first_use": False})


@contextmanager
def captured_lines(service: str, **settings: Any) -> Iterator[io.StringIO]:
    """Write JSON lines into the stream that is given; `lines_of` reads them."""
    with logging_as_before():
        stream = io.StringIO()
        configure_logging(PlatformSettings(log_format="json", **settings), service, stream)
        yield stream


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return every line so far."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]
