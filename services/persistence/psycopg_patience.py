"""A PostgreSQL connection that does not wait for ever.

The server keeps `statement_timeout` only while it is well: one that is frozen, or a line that swallows what is sent,
would hold the thread, and with it the service's end, until somebody kills the process.
"""

from typing import Any

import psycopg
from psycopg import errors
from psycopg.abc import RV, PQGen


class PatientConnection(psycopg.Connection[Any]):
    """Closes itself and raises OperationalError when an answer takes longer than `answer_seconds`."""

    answer_seconds: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer of the server."""
        try:
            return super().wait(gen, interval, timeout or self.answer_seconds)
        except errors._WaitTimeout:
            # What comes late would be taken for the answer to the next statement.
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer from the server within {self.answer_seconds:g} s") from None
