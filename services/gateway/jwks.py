"""The issuer's keys over HTTP, fetched when they are needed and kept for a while."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, Self

import httpx
import orjson

from services.gateway.auth_settings import AuthSettings
from shared.access import check_issuer_address
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.tls import context_of, tls_trouble

log = get_logger(__name__)

TLS_SETTINGS: Final = "RAG_JWT_TLS"
FETCH_SECONDS: Final = 5.0
MAX_BYTES: Final = 1024 * 1024
MAX_KEYS: Final = 100
DISCOVERY: Final = "/.well-known/openid-configuration"


class Jwks:
    """Knows the issuer's keys by their `kid`; `url` is where they lie, None = where the issuer's own document says.

    They are fetched again after `keep_seconds`, and for a `kid` that is not among them, but never more often than
    every `pause_seconds`. While the issuer does not answer the last ones hold for `stale_seconds`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        issuer: str,
        url: str | None,
        *,
        keep_seconds: float,
        stale_seconds: float,
        pause_seconds: float,
    ) -> None:
        self._http = http
        self._issuer = issuer
        self._url = url
        self._keep_seconds = keep_seconds
        self._stale_seconds = stale_seconds
        self._pause_seconds = pause_seconds
        self._keys: dict[str, Mapping[str, Any]] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()

    @classmethod
    def of(cls, settings: AuthSettings) -> Self:
        """Return the keys that the settings name; Misconfigured when the files for TLS do not fit."""
        address = "jwt_jwks_url" if settings.jwt_jwks_url else "jwt_issuer"
        return cls(
            httpx.AsyncClient(follow_redirects=False, verify=context_of(settings, "jwt_tls", address) or True),
            settings.jwt_issuer or "",
            settings.jwt_jwks_url,
            keep_seconds=settings.jwt_jwks_keep_seconds,
            stale_seconds=settings.jwt_jwks_stale_seconds,
            pause_seconds=settings.jwt_jwks_pause_seconds,
        )

    async def key(self, kid: str) -> Mapping[str, Any] | None:
        """Return a key, None when the issuer has none of this `kid`; Unavailable while its keys can't be had."""
        if kid not in self._keys or self._age > self._keep_seconds:
            await self._fetch_unless_tried_lately()
        if self._age > self._stale_seconds:
            raise Unavailable(
                f"the keys of the issuer {self._issuer} cannot be had, so that its tokens cannot be checked",
                code="issuer_unavailable",
            )
        return self._keys.get(kid)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @property
    def _age(self) -> float:
        return time.monotonic() - self._fetched_at

    async def _fetch_unless_tried_lately(self) -> None:
        async with self._fetching:
            now = time.monotonic()
            if now - self._tried_at < self._pause_seconds:
                return
            self._tried_at = now
            try:
                self._keys = await self._fetch()
                self._fetched_at = time.monotonic()
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
                told = tls_trouble(error, TLS_SETTINGS) or error
                log.warning("issuer_keys_not_fetched", issuer=self._issuer, reason=told)

    async def _fetch(self) -> dict[str, Mapping[str, Any]]:
        url = self._url or await self._discover()
        found = (await self._get(url)).get("keys")
        if not isinstance(found, list):
            raise ValueError(f"{url} is no key set: it has no list `keys`")
        keys = [key for key in found[:MAX_KEYS] if isinstance(key, dict) and key.get("use") != "enc"]
        return {str(key.get("kid", "")): key for key in keys}

    async def _discover(self) -> str:
        address = self._issuer.rstrip("/") + DISCOVERY
        document = await self._get(address)
        if document.get("issuer") != self._issuer:
            raise ValueError(f"{address} is of another issuer: {document.get('issuer')!r}")
        return check_issuer_address(str(document.get("jwks_uri")))

    async def _get(self, url: str) -> dict[str, Any]:
        content = bytearray()
        async with asyncio.timeout(FETCH_SECONDS), self._http.stream("GET", url) as response:
            response.raise_for_status()
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > MAX_BYTES:
                    raise ValueError(f"{url} answered with more than {MAX_BYTES} bytes")
        found = orjson.loads(bytes(content))
        if not isinstance(found, dict):
            raise ValueError(f"{url} answered with something else than a JSON object")
        return found
