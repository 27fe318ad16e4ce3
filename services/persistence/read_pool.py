"""Reads on connections of their own, beside the writer.

While the database is away one read at a time finds out whether it is back; the others are told at once. Else each of
them would hold a thread for the whole patience with a silent server, and those who ask would wait behind them.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from services.persistence.database import is_outage, unavailable
from shared.errors import Unavailable

T = TypeVar("T")


class ReadPool:
    """Runs queries on a bounded number of threads."""

    def __init__(self, engine: Engine, *, threads: int) -> None:
        self._engine = engine
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        self._outage: Unavailable | None = None
        self._looking: asyncio.Future[Any] | None = None

    @property
    def kind(self) -> str:
        """Return which database it is."""
        return str(self._engine.dialect.name)

    async def run(self, query: Callable[[Connection], T]) -> T:
        """Return what a query returns; Unavailable when the database does not do its work."""
        if self._outage is not None and self._looking is not None and not self._looking.done():
            raise Unavailable(self._outage.message, code=self._outage.error_code, away=True)
        running = asyncio.get_running_loop().run_in_executor(self._executor, copy_context().run, self._run, query)
        # Not bound to whoever asks: a caller who has gone leaves the thread where it is.
        running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._looking = running
        return await asyncio.shield(running)

    def close(self) -> None:
        """End the threads once their queries are answered."""
        self._executor.shutdown(wait=True)

    def _run(self, query: Callable[[Connection], T]) -> T:
        try:
            with self._engine.connect() as connection:
                found = query(connection)
        except Exception as error:
            if is_outage(error):
                self._outage = unavailable(error)
                raise self._outage from error
            raise
        self._outage = None
        return found
