"""The gateway's HTTP API as the commands see it."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import httpx

from services.cli.credentials import authorization
from services.cli.errors import CommandError, UsageProblem
from services.cli.gateway_tls import SETTINGS, gateway_trust
from services.cli.terminal import one_line
from shared.access import is_loopback
from shared.tls import tls_trouble

CONNECT_TIMEOUT_SECONDS: Final = 5.0
REPLY_TIMEOUT_SECONDS: Final = 60.0
UNAVAILABLE_STATUSES: Final = frozenset({429, 502, 503, 504})

# What a gateway that hangs up may have wanted; by TLS it can often not say so.
_HINTS: Final = {
    "http": "; a gateway that speaks TLS has an address that begins with https",
    "https": f"; a gateway that wants a certificate is shown the one of {SETTINGS}_CERT and {SETTINGS}_KEY",
}


class GatewayUnreachable(CommandError):
    """Nothing answers at the address, or the connection broke."""


class Problem(CommandError):
    """The gateway refused: `status`, `code` and `detail` as it gave them, and the wait it asked for, in seconds."""

    def __init__(self, status: int, code: str, detail: str, trace_id: str, retry_after_seconds: float | None) -> None:
        trace = f", trace {trace_id}" if trace_id else ""
        super().__init__(f"{detail} [{code}{trace}]")
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds

    @property
    def temporary(self) -> bool:
        """Tell whether the same request may succeed later."""
        return self.status in UNAVAILABLE_STATUSES


class Gateway:
    """Asks the gateway; every call raises GatewayUnreachable or Problem."""

    def __init__(self, url: str, *, timeout_seconds: float = REPLY_TIMEOUT_SECONDS) -> None:
        self.url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS),
            # A proxy from the environment can't reach this machine's loopback interface.
            trust_env=not is_loopback(_host_of(url)),
            headers=authorization(),
            verify=gateway_trust(self.url),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON reply of a GET; parameters that are None are left out."""
        return _reply(await self._send("GET", path, params=_given(params)))

    async def get_health(self) -> dict[str, Any]:
        """Return the detailed health, which a gateway that is not ready sends with status 503."""
        response = await self._send("GET", "/health/detailed")
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE and "services" in _json_object(response):
            return _json_object(response)
        found: dict[str, Any] = _reply(response)
        return found

    async def delete(self, path: str) -> Any:
        """Return the JSON reply of a DELETE."""
        return _reply(await self._send("DELETE", path))

    async def post(
        self,
        path: str,
        body: Mapping[str, Any] | bytes,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Return the JSON reply of a POST of JSON, given as an object or already encoded."""
        content: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
        fields = {"Content-Type": "application/json", **(headers or {})}
        timeout = httpx.Timeout(timeout_seconds or self._timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS)
        return _reply(await self._send("POST", path, params=_given(params), headers=fields, timeout=timeout, **content))

    async def stream(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        silence_seconds: float,
    ) -> AsyncGenerator[bytes]:
        """Yield a reply piece by piece as it comes; one that says nothing for so long is broken off."""
        timeout = httpx.Timeout(silence_seconds, connect=CONNECT_TIMEOUT_SECONDS)
        with self._explained(method, path):
            async with self._http.stream(method, path, json=body, headers=headers, timeout=timeout) as response:
                if not response.is_success:
                    await response.aread()
                    raise _problem(response)
                async for piece in response.aiter_bytes():
                    yield piece

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._explained(method, path):
            return await self._http.request(method, path, **options)

    @contextmanager
    def _explained(self, method: str, path: str) -> Iterator[None]:
        """Say what a failed connection means and what to do."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if trouble := tls_trouble(error, SETTINGS):
                raise GatewayUnreachable(f"no connection to the gateway at {self.url}: {trouble}") from None
            raise GatewayUnreachable(
                f"no gateway at {self.url}; start it with `rag up`, or name another with --url"
            ) from None
        except httpx.TimeoutException:
            raise GatewayUnreachable(f"the gateway at {self.url} did not answer {method} {path} in time") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = tls_trouble(error, SETTINGS) or str(error) or type(error).__name__
            if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
                reason += _HINTS[urlsplit(self.url).scheme]
            raise GatewayUnreachable(f"the connection to the gateway at {self.url} broke: {reason}") from None


def document_path(document_id: str) -> str:
    """Return the path of a document; its id may hold slashes and spaces."""
    return f"/v1/documents/{quote(document_id, safe='')}"


def _host_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageProblem(f"--url must be an address such as http://127.0.0.1:8000, found {url!r}")
    return parts.hostname


def _given(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def _reply(response: httpx.Response) -> Any:
    if response.is_success:
        try:
            return response.json()
        except ValueError:
            raise CommandError(f"what answers at {response.url} is not the platform: its reply is not JSON") from None
    raise _problem(response)


def problem_in(body: Mapping[str, Any]) -> Problem:
    """Return the problem that an event of a stream tells of."""
    return Problem(
        status=int(body.get("status") or httpx.codes.INTERNAL_SERVER_ERROR),
        code=str(body.get("code") or "error"),
        detail=one_line(body.get("detail") or body.get("title") or "the gateway did not say what went wrong", 500),
        trace_id=str(body.get("trace_id") or ""),
        retry_after_seconds=None,
    )


def _problem(response: httpx.Response) -> Problem:
    body = _json_object(response)
    detail = body.get("detail") or body.get("title") or f"HTTP {response.status_code} from {response.url}"
    return Problem(
        status=response.status_code,
        code=str(body.get("code") or f"http_{response.status_code}"),
        detail=one_line(detail, 500),
        trace_id=str(body.get("trace_id") or response.headers.get("X-Trace-Id", "")),
        retry_after_seconds=_seconds(response.headers.get("Retry-After")),
    )


def _json_object(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _seconds(value: str | None) -> float | None:
    return float(value) if value and value.isdecimal() else None
