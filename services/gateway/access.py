"""Who may come in, put together from the settings; runs beside the requests."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from opentelemetry.metrics import Counter, Meter
from starlette.types import Scope

from services.gateway.audit_trail import AuditTrail, lost_facts
from services.gateway.authentication import Anybody, Authentication, Authenticator, ByForm, auth_failures
from services.gateway.failed_attempts import FailedAttempts
from services.gateway.key_authentication import KeyAuthenticator
from services.gateway.key_ring import KeyRing
from services.gateway.nats_keys import KeyFeed
from services.gateway.settings import GatewaySettings
from services.gateway.throttled_counts import LocalCounts
from shared.access import JWT, KEYS
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.messaging.broker import PendingLimits
from shared.messaging.requests import Requester
from shared.service import Service

log = get_logger(__name__)

if TYPE_CHECKING:
    from services.gateway.jwks import Jwks
    from services.gateway.jwt_authentication import TokenAuthenticator

# A caller waits for this where a key is not known yet.
ASK_SECONDS: Final = 2.0
START_SECONDS: Final = 2.0
CANCEL_AGAIN_SECONDS: Final = 0.2


class Access:
    """Decides who calls and tells what they do; `start` and `close` enclose all requests."""

    def __init__(self, service: Service, settings: GatewaySettings) -> None:
        self._health = service.health
        self.trail = AuditTrail(service.publisher, lost_facts(service.telemetry.meter))
        self._works: list[Coroutine[Any, Any, None]] = [self.trail.run()]
        self._tasks: list[asyncio.Task[None]] = []
        self._jwks: Jwks | None = None
        keys = self._keys(service, settings) if KEYS in settings.auth_modes else None
        tokens = self._tokens(settings) if JWT in settings.auth_modes else None
        self.authenticator: Authenticator = ByForm(keys, tokens) if keys or tokens else Anybody()

    def start(self) -> None:
        """Begin to follow keys and to publish the audit."""
        self._tasks = [asyncio.create_task(work) for work in self._works]
        for task in self._tasks:
            task.add_done_callback(self._not_ready_after_failure)

    def _not_ready_after_failure(self, task: asyncio.Task[None]) -> None:
        """Without these the gateway would come to refuse every key, and look well."""
        if not task.cancelled() and task.exception() is not None:
            log.critical("access_failed", exc_info=task.exception())
            self._health.refusals["access"] = "what follows keys or the audit has failed; start the gateway again"

    async def close(self) -> None:
        """End what runs, and publish what still waits."""
        # Published first, while the broker is surely there.
        await self.trail.flush()
        await _end(self._tasks)
        if self._jwks is not None:
            await self._jwks.close()

    def _keys(self, service: Service, settings: GatewaySettings) -> KeyAuthenticator:
        ring = KeyRing(settings.key_pepper or "", max_keys=settings.gateway_max_keys)
        feed = KeyFeed(
            service.client,
            Requester(service.client, service.telemetry.tracer, timeout_seconds=ASK_SECONDS),
            ring,
            refresh_seconds=settings.gateway_keys_refresh_seconds,
            stale_seconds=settings.gateway_keys_stale_seconds,
            pending=PendingLimits.of(settings),
        )
        self._works.append(feed.run())
        return KeyAuthenticator(ring, feed)

    def _tokens(self, settings: GatewaySettings) -> "TokenAuthenticator":
        # Their libraries take 11 MB, which who does not use them shall not pay for.
        from services.gateway.jwks import Jwks
        from services.gateway.jwt_authentication import TokenAuthenticator, TokenRules

        rules = TokenRules(
            issuer=settings.jwt_issuer or "",
            audience=settings.jwt_audience or "",
            algorithms=settings.algorithms,
            tenant_claim=settings.jwt_tenant_claim,
            scope_claim=settings.jwt_scope_claim,
            scope_prefix=settings.jwt_scope_prefix,
            leeway_seconds=settings.jwt_leeway_seconds,
        )
        self._jwks = Jwks.of(settings)
        return TokenAuthenticator(rules, self._jwks.key)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Return when all tasks have ended; the broker's client swallows a cancellation that comes at a bad moment."""
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=CANCEL_AGAIN_SECONDS)


def desk_of(scope: Scope) -> tuple[Authenticator, AuditTrail]:
    """Return who decides on a request and who is told of it; Unavailable while the gateway starts."""
    access: Access | None = getattr(scope["app"].state, "access", None)
    if access is None:
        raise Unavailable("the gateway is starting; /ready says what it waits for", retry_after_seconds=START_SECONDS)
    return access.authenticator, access.trail


def add_authentication(app: FastAPI, settings: GatewaySettings, meter: Meter, hits: Counter) -> None:
    """Have every request of the app carry its principal; `hits` counts those that were refused by a limit."""
    attempts = FailedAttempts(LocalCounts(), hits, per_minute=settings.gateway_auth_failures_per_minute)
    app.add_middleware(Authentication, desk=desk_of, failures=auth_failures(meter), attempts=attempts)
