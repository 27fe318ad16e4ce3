"""Whose request it is: the tenant of whoever sent it, and of nothing that they wrote into it."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from services.gateway.principal import principal_of


async def tenant(request: Request) -> str:
    """Return the tenant of a request."""
    return principal_of(request.scope).tenant


Tenant = Annotated[str, Depends(tenant)]
