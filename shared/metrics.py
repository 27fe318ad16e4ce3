"""The instruments that every service records, declared once with their units and buckets."""

import time
from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]


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
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.waiting = meter.create_histogram(
            "rag.messages.waiting",
            unit="s",
            description="Age of a message when its processing starts.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.requests = meter.create_histogram(
            "rag.requests.duration",
            unit="s",
            description="Time to answer a request, by subject and outcome.",
            explicit_bucket_boundaries_advisory=_SECONDS,
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
        self.abandoned = meter.create_counter(
            "rag.messages.abandoned", unit="{message}", description="Messages given back unfinished at shutdown."
        )


class ReconcileMetrics:
    """What comparing database and index found; `passed` is called after each pass with what it left unrepaired."""

    def __init__(self, meter: Meter) -> None:
        self._passed_at: float | None = None
        self._unrepaired = 0
        self.differences = meter.create_counter(
            "rag.reconcile.differences", unit="{difference}", description="Differences by kind and outcome."
        )
        self.passes = meter.create_counter("rag.reconcile.passes", unit="{pass}", description="Complete passes.")
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
