"""The web console."""

from functools import cache
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.console import PAGE, Console

CONSOLE_PATH: Final = "/console/"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def console_page(request: Request) -> Response:
    """Return the page; what it loads has relative addresses, so a proxy may put a prefix in front."""
    return _console().answer(PAGE, request.headers)


@router.get(CONSOLE_PATH + "{name:path}")
async def console_file(name: str, request: Request) -> Response:
    """Return a file that the page loads."""
    return _console().answer(name, request.headers)


@cache
def _console() -> Console:
    return Console()
