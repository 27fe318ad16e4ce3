"""The instruments of the gateway beside that of its requests (`edge.py`)."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from services.gateway.nats_backlogs import Backlog

STREAM_KINDS: Final = ("answer", "document")
# Figures that nobody could read again are no figures any more: an alert on their absence is right.
STALE_SAMPLES: Final = 6


class BacklogGauges:
    """What the consumers have before them, as it was looked at last; nothing when that is too long ago."""

    def __init__(self, meter: Meter, *, sample_seconds: float) -> None:
        self._stale_seconds = STALE_SAMPLES * sample_seconds
        self._backlogs: Sequence[Backlog] = ()
        self._shown_at = 0.0
        self._gauge(
            meter, "rag.consumer.pending", "{message}", "Messages that were not delivered yet.", lambda one: one.pending
        )
        self._gauge(meter, "rag.consumer.ack_pending", "{message}", "Messages in work.", lambda one: one.in_work)
        self._gauge(
            meter,
            "rag.consumer.redelivered",
            "{message}",
            "Messages in work that came more than once.",
            lambda one: one.redelivered,
        )
        self._gauge(meter, "rag.consumer.backlog_age", "s", "Age of the oldest message that is not finished.", _age)

    def show(self, backlogs: Sequence[Backlog]) -> None:
        """Take over what was looked at now."""
        self._backlogs, self._shown_at = backlogs, time.monotonic()

    def _gauge(self, meter: Meter, name: str, unit: str, description: str, read: Callable[[Backlog], float]) -> None:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            if time.monotonic() - self._shown_at > self._stale_seconds:
                return []
            return [Observation(read(backlog), _labels(backlog)) for backlog in self._backlogs]

        meter.create_observable_gauge(name, [observe], unit=unit, description=description)


class StreamMetrics:
    """How many event streams are open."""

    def __init__(self, meter: Meter) -> None:
        self._open = meter.create_up_down_counter(
            "rag.streams.open", unit="{stream}", description="Streams of answers and of documents that are open."
        )
        for kind in STREAM_KINDS:
            self._open.add(0, {"kind": kind})

    def of(self, kind: str) -> Callable[[], AbstractContextManager[None]]:
        """Return what counts one stream of a kind while its block runs."""
        labels = {"kind": kind}

        @contextmanager
        def counted() -> Iterator[None]:
            self._open.add(1, labels)
            try:
                yield
            finally:
                self._open.add(-1, labels)

        return counted


def _labels(backlog: Backlog) -> dict[str, str]:
    return {
        "messaging.destination.name": backlog.consumer.stream,
        "messaging.consumer.group.name": backlog.consumer.name,
    }


def _age(backlog: Backlog) -> float:
    return backlog.age_seconds(time.time()) or 0.0
