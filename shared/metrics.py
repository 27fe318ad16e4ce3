"""The instruments that every service records, declared once with their units and buckets."""

import time
from collections.abc import Callable, Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from shared.quotas import LIMITS

SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]
_ITEMS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
_OUTCOMES = ("done", "retry", "dead", "drop", "leave")
DRAINED, CUT_OFF = "finished", "cut_off"


class MessagingMetrics:
    """What happened to messages and requests, by durable consumer or subject template."""

    def __init__(self, meter: Meter) -> None:
        self.processed = meter.create_counter(
            "rag.messages.processed", unit="{message}", description="Messages by consumer and outcome."
        )
        self.redelivered = meter.create_counter(
            "rag.messages.redelivered", unit="{message}", description="Messages that came more than once."
        )
        self.duration = meter.create_histogram(
            "messaging.process.duration",
            unit="s",
            description="Time from delivery to acknowledgement.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.waiting = meter.create_histogram(
            "rag.messages.waiting",
            unit="s",
            description="Age of a message when its processing starts.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.requests = meter.create_histogram(
            "rag.requests.duration",
            unit="s",
            description="Time to answer a request, by subject and outcome.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.waiting_in_place = meter.create_up_down_counter(
            "rag.messages.waiting_in_place",
            unit="{message}",
            description="Messages in work that wait for room in the next queue, or for a dependency that is away.",
        )
        self.expired = meter.create_counter(
            "rag.work.expired",
            unit="{item}",
            description="Messages and requests dropped because their deadline had passed, by consumer or subject.",
        )
        self.loop_lag = meter.create_histogram(
            "rag.loop.lag",
            unit="s",
            description="How much later than asked for the event loop wakes up, twice a second.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.abandoned = meter.create_counter(
            "rag.messages.abandoned", unit="{message}", description="Messages given back unfinished at shutdown."
        )
        self.batch_size = meter.create_histogram(
            "rag.batch.size",
            unit="{item}",
            description="How many items share one call of a model or one transaction.",
            explicit_bucket_boundaries_advisory=_ITEMS,
        )
        self.drains = meter.create_counter(
            "rag.drains", unit="{drain}", description="Ends of processes, by whether all work was finished."
        )
        self.drain_duration = meter.create_histogram(
            "rag.drain.duration",
            unit="s",
            description="How long finishing the work took at the end of a process.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        for outcome in (DRAINED, CUT_OFF):
            self.drains.add(0, {"outcome": outcome})

    def expect_messages_of(self, consumer: str) -> None:
        """Show the counts of a consumer from the start: a first failure is an increase only over a zero before it."""
        for outcome in _OUTCOMES:
            self.processed.add(0, {"consumer": consumer, "outcome": outcome})
        for counter in (self.redelivered, self.abandoned):
            counter.add(0, {"consumer": consumer})
        self.expired.add(0, {"where": consumer})

    def batch(self, stage: str) -> Callable[[int], None]:
        """Return what records how many items a stage handles at once."""
        labels = {"stage": stage}
        return lambda items: self.batch_size.record(items, labels)

    def drained(self, seconds: float, left: int) -> None:
        """Record the end of the work, of which `left` pieces were not finished in time."""
        self.drains.add(1, {"outcome": CUT_OFF if left else DRAINED})
        self.drain_duration.record(seconds)


class ReconcileMetrics:
    """What comparing database and index found; `passed` is called after each pass with what it left unrepaired."""

    def __init__(self, meter: Meter) -> None:
        self._passed_at: float | None = None
        self._unrepaired = 0
        self.differences = meter.create_counter(
            "rag.reconcile.differences", unit="{difference}", description="Differences by kind and outcome."
        )
        self.passes = meter.create_counter("rag.reconcile.passes", unit="{pass}", description="Complete passes.")
        self.passes.add(0)
        meter.create_observable_gauge(
            "rag.reconcile.unrepaired",
            callbacks=[self._observe_unrepaired],
            unit="{difference}",
            description="What the last complete pass could not repair.",
        )
        meter.create_observable_gauge(
            "rag.reconcile.age",
            callbacks=[self._observe_age],
            unit="s",
            description="Time since this process last completed a pass.",
        )

    def passed(self, unrepaired: int) -> None:
        """Record that a pass is complete."""
        self.passes.add(1)
        self._unrepaired, self._passed_at = unrepaired, time.monotonic()

    def _observe_unrepaired(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(self._unrepaired)] if self._passed_at is not None else []

    def _observe_age(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(time.monotonic() - self._passed_at)] if self._passed_at is not None else []


class FairnessMetrics:
    """How the parser shares the way to the embedder among tenants."""

    def __init__(self, meter: Meter) -> None:
        self.turn_wait = meter.create_histogram(
            "rag.parser.turn.wait",
            unit="s",
            description="Time that a batch of chunks waits for its turn and for room ahead of the embedder.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.early = meter.create_counter(
            "rag.parser.early",
            unit="{document}",
            description="Documents past a backlog of others: parsed early, left to the durable, known when it came.",
        )


class QuotaMetrics:
    """Documents that a tenant's quota had no room for."""

    def __init__(self, meter: Meter) -> None:
        self._refusals = meter.create_counter(
            "rag.quota.refusals",
            unit="{document}",
            description="Documents refused because the quota of their tenant has no room for them, by limit.",
        )
        for limit in LIMITS:
            self._refusals.add(0, {"limit": limit})

    def refused(self, limit: str, documents: int) -> None:
        """Count documents that one of LIMITS keeps out."""
        self._refusals.add(documents, {"limit": limit})


class HealthGauges:
    """Readiness and liveness as numbers, so that an alert can see them."""

    def __init__(self, meter: Meter) -> None:
        self.ready = False
        self.live = True
        meter.create_observable_gauge("rag.service.ready", callbacks=[self._observe_ready], description="1 = ready.")
        meter.create_observable_gauge("rag.service.live", callbacks=[self._observe_live], description="1 = live.")

    def _observe_ready(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(int(self.ready))]

    def _observe_live(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(int(self.live))]
