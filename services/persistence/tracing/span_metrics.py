"""What becomes of the spans that the store is sent."""

from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation


class SpanMetrics:
    """Counts spans; `kept` is how many there were when the store was last pruned."""

    def __init__(self, meter: Meter) -> None:
        self.kept = 0
        self.stored = meter.create_counter("rag.spans.stored", unit="{span}", description="Spans written.")
        self.ignored = meter.create_counter(
            "rag.spans.ignored", unit="{span}", description="Spans of no tenant, or with impossible ids or times."
        )
        self.lost = meter.create_counter(
            "rag.spans.lost", unit="{span}", description="Spans over the bound of their trace, or not written."
        )
        self.removed = meter.create_counter(
            "rag.spans.removed", unit="{span}", description="Spans removed because they were too old or too many."
        )
        self.refused = meter.create_counter(
            "rag.spans.refused", unit="{request}", description="Exports refused because the queue was full."
        )
        for counter in (self.stored, self.ignored, self.lost, self.removed, self.refused):
            counter.add(0)
        meter.create_observable_gauge(
            "rag.spans.kept", callbacks=[self._observe], unit="{span}", description="Spans in the store."
        )

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(self.kept)]
