"""Group commit: the units of work that wait at the same time share one transaction.

    callers ──► queue ──► thread: BEGIN, unit, unit, unit …, COMMIT ──► every caller hears of its own unit

Each unit runs in a savepoint, so a failing one fails its caller alone. When the database itself fails, the whole batch
is tried again until patience ends, and then every caller is told Unavailable. Nobody is told of success before the
commit. Units of the same key run one after the other, in the order they came.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from contextvars import Context, copy_context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from opentelemetry.trace import Link, Tracer
from sqlalchemy import Connection, Engine

from services.persistence.database import is_disconnect, is_outage, unavailable
from shared import semantics
from shared.client_spans import database_span
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.telemetry import is_recorded, links_to
from shared.telemetry_context import current_tenant

log = get_logger(__name__)
T = TypeVar("T")
Unit = Callable[[Connection], T]

RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Waiting:
    key: str
    unit: Unit[Any]
    future: "asyncio.Future[Any]"
    context: Context


@dataclass(frozen=True, slots=True)
class _Outcome:
    future: "asyncio.Future[Any]"
    result: Any = None
    error: Exception | None = None


class GroupCommit:
    """Runs units of work on threads of its own; create it where the event loop runs, and close it there.

    `outage` says why nothing can be committed at present, None when it can. `committed` is told, on the writing
    thread, how many units were committed together.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        threads: int,
        max_batch: int,
        patience_seconds: float,
        committed: Callable[[int], None] = lambda _units: None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._committed = committed
        self._engine = engine
        self._max_batch = max_batch
        self._patience_seconds = patience_seconds
        self._loop = asyncio.get_running_loop()
        self._closing = threading.Event()
        self.outage: str | None = None
        self._queues: list[SimpleQueue[_Waiting | None]] = [SimpleQueue() for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._work, args=(queue,), name=f"writer-{number}", daemon=True)
            for number, queue in enumerate(self._queues)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, key: str, unit: Unit[T]) -> T:
        """Return what the unit returned, once it is committed; raises what it raised, Unavailable in an outage.

        A unit may be run more than once before it is committed: it must do nothing but use its connection.
        """
        if self._closing.is_set():
            raise Unavailable("the service is stopping")
        future: asyncio.Future[T] = self._loop.create_future()
        # One thread per key, else two transactions could each wait for a document that the other holds.
        self._queues[hash(key) % len(self._queues)].put(_Waiting(key, unit, future, copy_context()))
        return await future

    async def close(self) -> None:
        """Finish what waits and end the threads."""
        self._closing.set()
        for queue in self._queues:
            queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _work(self, queue: "SimpleQueue[_Waiting | None]") -> None:
        while batch := _take(queue, self._max_batch):
            outcomes = self._commit(batch)
            self._loop.call_soon_threadsafe(_resolve, outcomes)

    def _commit(self, batch: Sequence[_Waiting]) -> list[_Outcome]:
        """Commit a batch, again and again while the database is away and patience lasts."""
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                outcomes = self._in_one_transaction(batch)
            except Exception as error:
                if not is_outage(error):
                    return [_Outcome(waiting.future, error=error) for waiting in batch]
                self._note_outage(unavailable(error).message)
                if time.monotonic() >= deadline or self._closing.is_set():
                    return [_Outcome(waiting.future, error=unavailable(error)) for waiting in batch]
                self._closing.wait(RETRY_SECONDS)
            else:
                self.outage = None
                self._committed(len(batch))
                return outcomes

    def _note_outage(self, reason: str) -> None:
        """Say once what is wrong, not at every try."""
        if self.outage != reason:
            log.error("database_away", reason=reason)
        self.outage = reason

    def _in_one_transaction(self, batch: Sequence[_Waiting]) -> list[_Outcome]:
        with self._engine.connect() as connection, ExitStack() as transaction:
            transaction.enter_context(connection.begin())
            # All processes lock documents in the same order, so that none waits for one that waits for it.
            ordered = sorted(batch, key=lambda waiting: waiting.key)
            outcomes = [_run(connection, waiting) for waiting in ordered]
            self._commit_traced(transaction, [waiting.context for waiting in batch])
            return outcomes

    def _commit_traced(self, transaction: ExitStack, contexts: Sequence[Context]) -> None:
        """Commit, as part of the first trace that is recorded; the span links the others of its tenant."""
        recorded = [context for context in contexts if context.run(is_recorded)]
        if not recorded:
            transaction.close()
            return
        whose = recorded[0].run(current_tenant)
        same = [context for context in recorded[1:] if context.run(current_tenant) == whose]
        links = [link for context in same for link in context.run(links_to)]
        recorded[0].run(self._commit_linked, transaction, links)

    def _commit_linked(self, transaction: ExitStack, links: Sequence[Link]) -> None:
        with database_span(self._tracer, self._engine.dialect.name, semantics.COMMIT, links=links):
            transaction.close()


def _take(queue: "SimpleQueue[_Waiting | None]", at_most: int) -> list[_Waiting]:
    """Wait for a unit and return it with those behind it; nothing when the queue is closed."""
    batch: list[_Waiting] = []
    item = queue.get()
    while item is not None:
        batch.append(item)
        if len(batch) == at_most:
            return batch
        try:
            item = queue.get_nowait()
        except Empty:
            return batch
    if batch:
        queue.put(None)
    return batch


def _run(connection: Connection, waiting: _Waiting) -> _Outcome:
    """Run one unit in its savepoint; raises only what ends the whole transaction."""
    # Plain statements: SQLAlchemy's nested transactions cost three times as much.
    connection.exec_driver_sql("SAVEPOINT unit")
    try:
        outcome = _Outcome(waiting.future, result=waiting.context.run(waiting.unit, connection))
    except Exception as error:  # The boundary of a unit: its caller is told, whatever it is.
        if is_disconnect(error):
            raise
        # Where the database has ended the transaction by itself this fails too, and the batch with it.
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT unit")
        outcome = _Outcome(waiting.future, error=unavailable(error) if is_outage(error) else error)
    connection.exec_driver_sql("RELEASE SAVEPOINT unit")
    return outcome


def _resolve(outcomes: Sequence[_Outcome]) -> None:
    for outcome in outcomes:
        if outcome.future.done():
            continue
        if outcome.error is not None:
            outcome.future.set_exception(outcome.error)
        else:
            outcome.future.set_result(outcome.result)
