"""Rate limits around every route: what the answer says of them, and 429 for who calls too often."""

from typing import Final

from fastapi import FastAPI
from opentelemetry.metrics import Counter, Meter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.authentication import is_open
from services.gateway.caller_seats import bind_caller
from services.gateway.principal import principal_of
from services.gateway.problems import RequestProblem, problem_of
from services.gateway.rate_limits import PERIOD_SECONDS, RateLimits, Standing, headers_of, refusal_in
from services.gateway.settings import GatewaySettings
from services.gateway.throttled_counts import LocalCounts, SharedCounts, build_counts

CODE: Final = "rate_limited"


def rate_limit_hits(meter: Meter) -> Counter:
    """Return the instrument that counts refusals."""
    return meter.create_counter(
        "rag.rate_limit.hits", unit="{request}", description="Requests refused because a limit was reached, by limit."
    )


class RateLimiting:
    """Refuses a request of a caller who reached a limit with 429, before its body is read.

    What is open to everybody is not counted.
    """

    def __init__(self, app: ASGIApp, *, limits: RateLimits, hits: Counter) -> None:
        self._app = app
        self._limits = limits
        self._hits = hits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        principal = principal_of(scope)
        bind_caller(principal.key_id)
        standings = await self._limits.take(principal.tenant, principal.key_id)
        if not standings:
            await self._app(scope, receive, send)
            return
        telling = _telling(send, standings)
        if (refusal := refusal_in(standings)) is None:
            await self._app(scope, receive, telling)
            return
        self._hits.add(1, {"limit": refusal.limit})
        await problem_of(_problem(refusal))(scope, receive, telling)


def _telling(send: Send, standings: list[Standing]) -> Send:
    async def send_told(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers_of(standings))
        await send(message)

    return send_told


def _problem(refusal: Standing) -> RequestProblem:
    return RequestProblem(
        429,
        CODE,
        f"this {refusal.limit} has sent the {refusal.per_minute} requests that it may send in {PERIOD_SECONDS} s",
        extra={"limit": refusal.limit},
        retry_after_seconds=refusal.retry_seconds,
    )


def add_rate_limits(app: FastAPI, settings: GatewaySettings, hits: Counter) -> LocalCounts | SharedCounts:
    """Put the limits of the settings around the app; the counts are to be closed with it."""
    counts = build_counts(settings)
    limits = RateLimits(
        counts,
        key_per_minute=settings.gateway_key_requests_per_minute,
        tenant_per_minute=settings.gateway_tenant_requests_per_minute,
    )
    app.add_middleware(RateLimiting, limits=limits, hits=hits)
    return counts
