"""What browsers are told: who may call from another page, and what the pages of this server may do."""

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import HTMLResponse
from starlette.types import Scope

ALLOWED_METHODS: Final = ("GET", "POST", "DELETE")
ALLOWED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "traceparent",
    "tracestate",
)
EXPOSED_HEADERS: Final = ("X-Trace-Id", "Retry-After", "RateLimit", "RateLimit-Policy")
PREFLIGHT_SECONDS: Final = 600

_INLINE_SCRIPT: Final = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_CSP: Final = b"content-security-policy"
# An answer is data: nothing in it is run, and no page may frame it.
_DATA_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'"
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_CACHE: Final = b"cache-control"
_NO_STORE: Final = (_CACHE, b"no-store")
# What these answer with belongs to one tenant and must not wait in a cache for the next.
_PRIVATE: Final = ("/v1/", "/mcp")


def add_cors(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins call from a browser; with none of them no answer names any."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=ALLOWED_METHODS,
            allow_headers=ALLOWED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=PREFLIGHT_SECONDS,
        )


def security_headers(scope: Scope, present: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the fields to add to an answer that has some already; HSTS only where the request came over TLS."""
    found = list(_ALWAYS)
    given = {name.lower() for name, _ in present}
    if _CSP not in given:
        found.append((_CSP, _DATA_POLICY))
    if _CACHE not in given and scope["path"].startswith(_PRIVATE):
        found.append(_NO_STORE)
    if scope.get("scheme") == "https":
        found.append(_HSTS)
    return found


def page(html: str) -> HTMLResponse:
    """Return a page that may load from this server alone, and run no script in it but those it has now."""
    scripts = " ".join(f"'sha256-{_digest(script)}'" for script in _INLINE_SCRIPT.findall(html))
    policy = (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
