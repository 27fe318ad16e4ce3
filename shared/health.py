"""Health of one process: `/live /ready /health /health/detailed /metrics`.

Ready means consuming: the topology is as declared, every consumer fetched lately and every check passes. Live means
that a restart would not help: an event loop that answers, and consumers that fetched within a longer bound.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.health import HealthReply
from shared.exposition import exposition
from shared.metrics import HealthGauges
from shared.privacy import in_words
from shared.secrets import Secrets
from shared.version import VERSION

Check = Callable[[], Awaitable[dict[str, Any]]]
CHECK_TIMEOUT_SECONDS = 0.8


@dataclass(slots=True)
class Health:
    """What a process knows of its own state."""

    service: str
    instance: str
    stale_after_seconds: float
    gauges: HealthGauges
    secrets: Secrets = field(default_factory=Secrets)
    checks: dict[str, Check] = field(default_factory=dict)
    waiting_for: str | None = "start"
    last_fetch: dict[str, float] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    connected: Callable[[], bool] = lambda: True

    def fetched(self, consumer: str, at: float | None = None) -> None:
        """Record that a consumer was served at a moment (monotonic), none = now; time does not run backwards."""
        moment = time.monotonic() if at is None else at
        self.last_fetch[consumer] = max(moment, self.last_fetch.get(consumer, 0.0))

    def stale_consumers(self) -> dict[str, float]:
        """Return the consumers that were not served within the bound, with the age of their last fetch in seconds.

        While the broker is away nobody is served, and a restart would not bring it back: none counts as stale.
        """
        if not self.connected():
            return {}
        now = time.monotonic()
        ages = {name: now - at for name, at in self.last_fetch.items()}
        return {name: round(age, 1) for name, age in ages.items() if age > self.stale_after_seconds}

    @property
    def live(self) -> bool:
        """Tell whether the process does its work or could still come to do it without a restart."""
        self.gauges.live = not self.stale_consumers()
        return self.gauges.live

    @property
    def ready(self) -> bool:
        """Tell whether the process takes work."""
        self.gauges.ready = self.waiting_for is None and not self.refusals and self.connected() and self.live
        return self.gauges.ready

    @property
    def blocked_by(self) -> str | None:
        """Return in words what keeps the process from taking work, None when nothing does."""
        return self.waiting_for or ("; ".join(self.refusals.values()) or None)

    async def report(self, check_seconds: float = CHECK_TIMEOUT_SECONDS) -> HealthReply:
        """Return the state with every check run side by side, each within its bound."""
        results = await asyncio.gather(*(_run(name, check, check_seconds) for name, check in self.checks.items()))
        details: dict[str, Any] = dict(results)
        if self.blocked_by:
            details["waiting_for"] = self.blocked_by
        details["consumers"] = {
            name: {"last_fetch_age_seconds": round(time.monotonic() - at, 1)} for name, at in self.last_fetch.items()
        }
        return HealthReply(
            service=self.service,
            instance=self.instance,
            version=VERSION,
            ready=self.ready and all(_is_ok(result) for _, result in results),
            live=self.live,
            details=self.secrets.hidden_in_all(details),
        )


def health_routes(health: Health) -> list[Route]:
    """Return the HTTP routes that every service has."""

    async def live(_request: Request) -> Response:
        stale = health.stale_consumers()
        return JSONResponse({"live": health.live, "stale_consumers": stale}, 200 if health.live else 503)

    async def ready(_request: Request) -> Response:
        report = await health.report()
        body = {"ready": report.ready, "waiting_for": health.blocked_by}
        return JSONResponse(body, 200 if report.ready else 503)

    async def detailed(_request: Request) -> Response:
        report = await health.report()
        return JSONResponse(report.model_dump(mode="json"), 200 if report.ready else 503)

    async def metrics(request: Request) -> Response:
        # A gauge is as old as the last look, and nobody may have probed for long.
        health.gauges.ready = health.ready
        # Some ten milliseconds of text, beside which the event loop goes on.
        body, content_type = await asyncio.to_thread(exposition, request.headers.get("accept"))
        return Response(body, headers={"Content-Type": content_type})

    return [
        Route("/live", live),
        Route("/ready", ready),
        Route("/health", detailed),
        Route("/health/detailed", detailed),
        Route("/metrics", metrics),
    ]


async def _run(name: str, check: Check, seconds: float) -> tuple[str, dict[str, Any]]:
    try:
        async with asyncio.timeout(seconds):
            return name, {"status": "ok", **await check()}
    except TimeoutError:
        return name, {"status": "failed", "error": f"no answer within {seconds:g} s"}
    except Exception as error:  # A check that breaks is a finding to report, whatever broke it.
        return name, {"status": "failed", "error": in_words(error)}


def _is_ok(result: dict[str, Any]) -> bool:
    return bool(result["status"] == "ok")
