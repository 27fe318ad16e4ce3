"""Who calls, and what they may do: decided once for a request, before any route sees it.

A route gets it as `caller: Caller`, everything else by `principal_of(scope)`; `request.state.principal` is the same.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import Depends
from fastapi.params import Depends as Dependency
from starlette.requests import Request
from starlette.types import Scope as AsgiScope

from services.gateway.problems import RequestProblem

DEFAULT_TENANT: Final = "default"
_PRINCIPAL: Final = "principal"


class Scope(StrEnum):
    """What a caller may do; none includes another one."""

    INGEST = "ingest"
    QUERY = "query"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: `key_id` names the key or the token's subject and is no secret, None with `RAG_AUTH=off`."""

    tenant: str
    scopes: frozenset[Scope]
    key_id: str | None = None

    def operates(self, operator_tenant: str) -> bool:
        """Tell whether the caller runs the platform: an admin of its own tenant, or anybody where nobody is known."""
        return Scope.ADMIN in self.scopes and (self.key_id is None or self.tenant == operator_tenant)

    def require_operator(self, operator_tenant: str) -> None:
        """Raise RequestProblem 403 for everybody who does not run the platform."""
        if not self.operates(operator_tenant):
            message = f"this is about all tenants and needs an admin key of the tenant {operator_tenant!r}"
            raise RequestProblem(403, "forbidden", message, extra={"missing_scope": "admin"})

    def require(self, *any_of: Scope) -> None:
        """Raise RequestProblem 403 that names the missing scope when the caller has none of those."""
        if self.scopes.isdisjoint(any_of):
            missing, has = " or ".join(any_of), ", ".join(sorted(self.scopes)) or "none"
            message = f"this needs the scope {missing}; the caller has: {has}"
            raise RequestProblem(403, "forbidden", message, extra={"missing_scope": missing})


# Whoever reaches the loopback interface of a platform without authentication.
ANYBODY: Final = Principal(DEFAULT_TENANT, frozenset(Scope))


def principal_of(scope: AsgiScope) -> Principal:
    """Return who sent a request; RuntimeError for one that was never authenticated."""
    principal = scope.get("state", {}).get(_PRINCIPAL)
    if not isinstance(principal, Principal):
        raise RuntimeError(f"{scope.get('path')} was reached without authentication")
    return principal


def admit(scope: AsgiScope, principal: Principal) -> None:
    """Let every later part of a request know who sent it."""
    scope.setdefault("state", {})[_PRINCIPAL] = principal


class Needs:
    """What a route demands of its caller, as a dependency of the route: one of these scopes."""

    def __init__(self, any_of: tuple[Scope, ...]) -> None:
        self.any_of = any_of

    async def __call__(self, request: Request) -> None:
        """Raise RequestProblem 403 when the caller has none of the scopes."""
        principal_of(request.scope).require(*self.any_of)


def needs(*any_of: Scope) -> Any:
    """Return the dependency by which a route declares the scopes of which its caller needs one."""
    return Depends(Needs(any_of))


def needed_by(route: Any) -> tuple[Scope, ...]:
    """Return the scopes that a route declares, none for one that is open or no route at all."""
    found: list[Scope] = []
    for dependency in getattr(route, "dependencies", ()):
        if isinstance(dependency, Dependency) and isinstance(dependency.dependency, Needs):
            found += dependency.dependency.any_of
    return tuple(found)


async def _caller(request: Request) -> Principal:
    return principal_of(request.scope)


Caller = Annotated[Principal, Depends(_caller)]
