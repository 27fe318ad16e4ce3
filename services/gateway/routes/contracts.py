"""Both contracts, HTTP and messages, for programs and for people; nothing is loaded from elsewhere."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from services.gateway.asyncapi_page import asyncapi_page
from services.gateway.hardening import page
from services.gateway.replies import json_reply
from shared.errors import NotFound
from shared.settings import PROJECT_ROOT

ASYNCAPI_FILE: Final = PROJECT_ROOT / "contracts" / "asyncapi.json"
ASSETS_PATH: Final = "/docs-assets"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Return Swagger UI for the HTTP API; addresses are relative, so a proxy may put a prefix in front."""
    assets = ASSETS_PATH.removeprefix("/")
    html = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="RAG platform: HTTP API",
        swagger_js_url=f"{assets}/swagger-ui-bundle.js",
        swagger_css_url=f"{assets}/swagger-ui.css",
        swagger_favicon_url=f"{assets}/favicon.png",
    )
    return page(bytes(html.body).decode())


@router.get("/asyncapi.json")
async def asyncapi_document() -> Response:
    """Return the contract of the messages."""
    return json_reply(_asyncapi())


@router.get("/asyncapi")
async def asyncapi() -> HTMLResponse:
    """Return the contract of the messages as a page."""
    return page(asyncapi_page(_asyncapi()))


def docs_assets() -> Mount:
    """Return the files of Swagger UI, which a package brings along."""
    folder = Path(str(files("fastapi_offline") / "static"))
    return Mount(ASSETS_PATH, StaticFiles(directory=folder))


def _asyncapi() -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(ASYNCAPI_FILE.read_bytes())
    except FileNotFoundError:
        raise NotFound("contracts/asyncapi.json is missing; `make contracts` writes it") from None
    return document
