"""Reads on connections of their own, beside the writer."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine

from services.persistence.database import is_outage, unavailable

T = TypeVar("T")


class ReadPool:
    """Runs queries on a bounded number of threads."""

    def __init__(self, engine: Engine, *, threads: int) -> None:
        self._engine = engine
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="reader")

    async def run(self, query: Callable[[Connection], T]) -> T:
        """Return what a query returns; Unavailable when the database does not do its work."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, query)

    def close(self) -> None:
        """End the threads once their queries are answered."""
        self._executor.shutdown(wait=True)

    def _run(self, query: Callable[[Connection], T]) -> T:
        try:
            with self._engine.connect() as connection:
                return query(connection)
        except Exception as error:
            if is_outage(error):
                raise unavailable(error) from error
            raise
