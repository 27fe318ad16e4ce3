"""The layer that finds out who sends a request; nothing behind it is reached by nobody."""

from collections.abc import Callable
from typing import Final, Protocol

from opentelemetry.metrics import Counter, Meter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.principal import ANYBODY, Principal, admit
from services.gateway.problems import RequestProblem, problem_of
from shared.errors import PlatformError
from shared.telemetry import bind_tenant

# What says nothing of any tenant and holds no secret: probes, numbers, and how to use the API.
OPEN_PATHS: Final = frozenset(
    {
        "/live",
        "/ready",
        "/health",
        "/health/detailed",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/asyncapi",
        "/asyncapi.json",
    }
)
OPEN_FOLDER: Final = "/docs-assets/"
CHALLENGE: Final = 'Bearer realm="rag"'


class Unauthenticated(RequestProblem):
    """Nobody knows who this is; `reason` is a word for counting and for the audit, never told to the caller."""

    def __init__(self, reason: str, message: str, *, key_id: str | None = None, tenant: str | None = None) -> None:
        super().__init__(401, "unauthenticated", message)
        self.reason = reason
        self.key_id = key_id
        self.tenant = tenant


class Authenticator(Protocol):
    """Tells who holds a credential."""

    async def authenticate(self, credential: str | None) -> Principal:
        """Return who it is; Unauthenticated for nobody, Unavailable when that can't be known now."""


class Anybody:
    """Takes everybody for the one tenant there is."""

    async def authenticate(self, _credential: str | None) -> Principal:
        """Return the caller who may do everything."""
        return ANYBODY


def auth_failures(meter: Meter) -> Counter:
    """Return the instrument that counts refused credentials."""
    return meter.create_counter("rag.auth.failures", description="Requests refused with 401, by reason.")


class Authentication:
    """Has every request carry its principal; `who` returns what decides, or raises Unavailable while it starts."""

    def __init__(self, app: ASGIApp, *, who: Callable[[], Authenticator], failures: Counter) -> None:
        self._app = app
        self._who = who
        self._failures = failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            principal = await self._who().authenticate(bearer_of(scope))
        except Unauthenticated as error:
            self._failures.add(1, {"reason": error.reason})
            await problem_of(error, headers={"WWW-Authenticate": challenge(error)})(scope, receive, send)
            return
        except PlatformError as error:
            await problem_of(error)(scope, receive, send)
            return
        admit(scope, principal)
        bind_tenant(principal.tenant)
        await self._app(scope, receive, send)


def is_open(path: str) -> bool:
    """Tell whether a path needs no credential."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def bearer_of(scope: Scope) -> str | None:
    """Return the credential of a request; Unauthenticated for a header of another form."""
    header = Headers(scope=scope).get("authorization")
    if header is None:
        return None
    scheme, _, credential = header.partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""


def challenge(error: Unauthenticated) -> str:
    """Return the WWW-Authenticate header: RFC 6750 names an error only where a credential was sent."""
    return CHALLENGE if error.reason == "missing" else f'{CHALLENGE}, error="invalid_token"'
