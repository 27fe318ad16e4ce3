"""Whose request it is: the one place that decides the tenant."""

from typing import Annotated, Final

from fastapi import Depends

DEFAULT_TENANT: Final = "default"


async def tenant() -> str:
    """Return the tenant of a request; without authentication there is one, and no request can name another."""
    return DEFAULT_TENANT


Tenant = Annotated[str, Depends(tenant)]
