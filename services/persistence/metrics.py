"""The instruments of persistence: statements, dead letters, and how many documents and chunks there are."""

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from contracts.topology import CONSUMERS
from services.persistence.figures import Figures
from shared.messaging.delivery import Delivery
from shared.metrics import SECONDS

OTHER: Final = "_other"
_CONSUMERS: Final = frozenset(consumer.name for consumer in CONSUMERS)
# What frames the others (SAVEPOINT, RELEASE, PRAGMA …) is most of the statements and none of the time.
_TIMED: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"})


class StatementMetrics:
    """How long statements take that read or write rows, by their first word and database."""

    def __init__(self, meter: Meter) -> None:
        self._duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Time of an SQL statement, by its first word.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )

    def watch(self, engine: Engine) -> None:
        """Time every statement of an engine from now on."""
        system = engine.dialect.name

        def begin(_connection: Any, _cursor: Any, _text: str, _parameters: Any, context: Any, _many: bool) -> None:
            context.began_at = time.perf_counter()

        def end(_connection: Any, _cursor: Any, text: str, _parameters: Any, context: Any, _many: bool) -> None:
            self._record(system, text, context, None)

        def fail(failure: ExceptionContext) -> None:
            if failure.execution_context is not None and failure.statement is not None:
                error = type(failure.original_exception).__name__
                self._record(system, failure.statement, failure.execution_context, error)

        event.listen(engine, "before_cursor_execute", begin)
        event.listen(engine, "after_cursor_execute", end)
        event.listen(engine, "handle_error", fail)

    def _record(self, system: str, statement: str, context: Any, error: str | None) -> None:
        operation = statement.lstrip().partition(" ")[0].partition("\n")[0].upper()
        began_at = getattr(context, "began_at", None)
        if operation not in _TIMED or began_at is None:
            return
        labels = {"db.system.name": system, "db.operation.name": operation}
        if error is not None:
            labels["error.type"] = error
        self._duration.record(time.perf_counter() - began_at, labels)


class LetterMetrics:
    """Counts dead letters as they are stored, by the consumer that gave up."""

    def __init__(self, meter: Meter) -> None:
        self._arrived = meter.create_counter(
            "rag.dead_letters.arrived",
            unit="{letter}",
            description="Dead letters stored, by the consumer that gave up.",
        )
        for consumer in sorted(_CONSUMERS):
            self._arrived.add(0, {"consumer": consumer})

    def counting(self, store: Callable[[Delivery], Awaitable[None]]) -> Callable[[Delivery], Awaitable[None]]:
        """Return a handler of dead letters that counts what `store` has stored."""

        async def stored(delivery: Delivery) -> None:
            await store(delivery)
            consumer = delivery.subject.rpartition(".")[2]
            self._arrived.add(1, {"consumer": consumer if consumer in _CONSUMERS else OTHER})

        return stored


class FigureGauges:
    """What was counted last; nothing before that, and nothing while the database cannot be asked."""

    def __init__(self, meter: Meter) -> None:
        self.shown: Figures | None = None
        meter.create_observable_gauge(
            "rag.documents", [self._documents], unit="{document}", description="Documents by collection and status."
        )
        meter.create_observable_gauge(
            "rag.chunks", [self._chunks], unit="{chunk}", description="Chunks of indexed documents by collection."
        )
        meter.create_observable_gauge(
            "rag.documents.oldest_unfinished",
            [self._oldest],
            unit="s",
            description="How long the document stands still that does so longest, neither indexed nor failed.",
        )
        meter.create_observable_gauge(
            "rag.dead_letters.kept",
            [self._letters],
            unit="{letter}",
            description="Dead letters that wait for somebody.",
        )

    def _documents(self, _options: CallbackOptions) -> Iterable[Observation]:
        if self.shown is None:
            return []
        return [
            Observation(count, {"collection": collection, "status": status})
            for (collection, status), count in self.shown.documents.items()
        ]

    def _chunks(self, _options: CallbackOptions) -> Iterable[Observation]:
        if self.shown is None:
            return []
        return [Observation(count, {"collection": name}) for name, count in self.shown.chunks.items()]

    def _oldest(self, _options: CallbackOptions) -> Iterable[Observation]:
        if self.shown is None:
            return []
        moment = self.shown.standing_still_since
        return [Observation(max(0.0, time.time() - moment) if moment is not None else 0.0)]

    def _letters(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(self.shown.letters)] if self.shown is not None else []
