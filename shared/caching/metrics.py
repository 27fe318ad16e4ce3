"""The instruments of caches."""

from typing import Literal

from opentelemetry.metrics import Meter


class CacheMetrics:
    """How often caches help."""

    def __init__(self, meter: Meter) -> None:
        self._requests = meter.create_counter(
            "rag.cache.requests", unit="{request}", description="Look-ups by cache and outcome (hit, miss, garbage)."
        )
        self._failures = meter.create_counter(
            "rag.cache.failures", unit="{failure}", description="Calls of Redis that failed or came too late."
        )
        self._failures.add(0)

    def expect(self, cache: str) -> None:
        """Show the counts of a cache from the start."""
        for outcome in ("hit", "miss", "garbage"):
            self._requests.add(0, {"cache": cache, "outcome": outcome})

    def looked_up(self, cache: str, outcome: Literal["hit", "miss", "garbage"]) -> None:
        """Count a look-up."""
        self._requests.add(1, {"cache": cache, "outcome": outcome})

    def failed(self) -> None:
        """Count a call that failed."""
        self._failures.add(1)
