"""Whose request it is: the one place that decides the tenant."""

from typing import Annotated, Final

from fastapi import Depends

from shared.telemetry import bind_tenant

DEFAULT_TENANT: Final = "default"


async def tenant() -> str:
    """Return the tenant of a request; without authentication there is one, and no request can name another."""
    bind_tenant(DEFAULT_TENANT)
    return DEFAULT_TENANT


Tenant = Annotated[str, Depends(tenant)]
