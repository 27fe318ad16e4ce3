"""The layer that finds out who sends a request; nothing behind it is reached by nobody."""

from collections.abc import Callable
from typing import Final, Protocol

from opentelemetry.metrics import Counter, Meter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.failed_attempts import FailedAttempts
from services.gateway.principal import ANYBODY, Principal, admit
from services.gateway.problems import RequestProblem, problem_of
from shared.api_keys import KEY_MARK
from shared.errors import PlatformError
from shared.telemetry import bind_tenant

# What says nothing of any tenant and holds no secret: probes, numbers, and how to use the API.
OPEN_PATHS: Final = frozenset(
    {
        "/",
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
OPEN_FOLDERS: Final = ("/docs-assets/", "/console/")
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


class Holder(Protocol):
    """Tells who holds a credential of one form."""

    async def authenticate(self, credential: str) -> Principal:
        """Return who it is; Unauthenticated for nobody, Unavailable when that can't be known now."""


class Anybody:
    """Takes everybody for the one tenant there is."""

    async def authenticate(self, _credential: str | None) -> Principal:
        """Return the caller who may do everything."""
        return ANYBODY


class ByForm:
    """Takes a credential to the way in that it has the form of: `keys` for those of this platform, else `tokens`."""

    def __init__(self, keys: Holder | None, tokens: Holder | None) -> None:
        self._keys = keys
        self._tokens = tokens

    async def authenticate(self, credential: str | None) -> Principal:
        """Return who it is."""
        if credential is None:
            raise Unauthenticated("missing", "send a key or a token as `Authorization: Bearer …`")
        if not credential:
            raise Unauthenticated("malformed", "the header must be `Authorization: Bearer …`, with a key or a token")
        for_key = self._tokens is None or (self._keys is not None and credential.startswith(KEY_MARK))
        holder = self._keys if for_key else self._tokens
        if holder is None:
            raise RuntimeError("no way in is configured")
        return await holder.authenticate(credential)


def auth_failures(meter: Meter) -> Counter:
    """Return the instrument that counts refused credentials."""
    return meter.create_counter("rag.auth.failures", description="Requests refused with 401, by reason.")


class Trail(Protocol):
    """Is told what callers do."""

    def failed(self, scope: Scope, error: Unauthenticated) -> None:
        """Hear of a request that nobody is known to have sent."""

    def used(self, scope: Scope, principal: Principal) -> None:
        """Hear of a request before it is served."""

    def answered(self, scope: Scope, principal: Principal, status: int) -> None:
        """Hear of a request that was served."""


class Authentication:
    """Has every request carry its principal; `desk` returns who decides and who is told, or raises Unavailable."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        desk: Callable[[Scope], tuple[Authenticator, Trail]],
        failures: Counter,
        attempts: FailedAttempts,
    ) -> None:
        self._app = app
        self._desk = desk
        self._attempts = attempts
        self._failures = failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            authenticator, trail = self._desk(scope)
            principal = await self._known(authenticator, trail, scope)
        except PlatformError as error:
            headers = {"WWW-Authenticate": challenge(error)} if isinstance(error, Unauthenticated) else None
            await problem_of(error, headers)(scope, receive, send)
            return
        admit(scope, principal)
        bind_tenant(principal.tenant)
        trail.used(scope, principal)
        answer = _Status(send)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            trail.answered(scope, principal, answer.status)

    async def _known(self, authenticator: Authenticator, trail: Trail, scope: Scope) -> Principal:
        credential = bearer_of(scope)
        await self._attempts.require_place(scope, credential)
        try:
            principal = await authenticator.authenticate(credential)
        except Unauthenticated as error:
            self._failures.add(1, {"reason": error.reason})
            trail.failed(scope, error)
            await self._attempts.failed(scope, credential)
            raise
        self._attempts.proven(credential)
        return principal


class _Status:
    """Sends an answer and remembers its status; 500 for one that never began."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def is_open(path: str) -> bool:
    """Tell whether a path needs no credential."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def bearer_of(scope: Scope) -> str | None:
    """Return the credential of a request, None without one, and an empty one for a header of another form."""
    header = Headers(scope=scope).get("authorization")
    if header is None:
        return None
    scheme, _, credential = header.partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""


def challenge(error: Unauthenticated) -> str:
    """Return the WWW-Authenticate header: RFC 6750 names an error only where a credential was sent."""
    return CHALLENGE if error.reason == "missing" else f'{CHALLENGE}, error="invalid_token"'
