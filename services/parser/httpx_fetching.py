"""Fetching a document from its address on the internet, on behalf of somebody who may want us to reach elsewhere.

Each hop is looked up once; when all its addresses are public, the connection goes to one of those that were checked,
whatever the name leads to a moment later. Certificates are checked against the name.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from email.message import Message
from functools import cached_property
from pathlib import PureWindowsPath
from typing import Final
from urllib.parse import unquote

import httpx

from services.parser.addresses import Address, is_public
from shared.errors import NotYet, Rejected
from shared.version import VERSION

HTTPS_PORT: Final = 443
MAX_FILENAME_CHARACTERS: Final = 255
MAX_RETRY_AFTER_SECONDS: Final = 300
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TRANSIENT: Final = frozenset({408, 425, 429})
_UNKNOWN_MEDIA_TYPE: Final = "application/octet-stream"

Resolve = Callable[[str, int], Awaitable[Collection[Address]]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched; the type and the name are what its server says, None when that says nothing."""

    content: bytes
    media_type: str | None
    filename: str | None


async def resolve(host: str, port: int) -> set[Address]:
    """Return the addresses of a name; NotYet when nobody could tell now, Rejected when it has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise NotYet(f"{host!r} could not be looked up now", code="fetch_failed") from None
        raise Rejected(f"{host!r} has no address", code="fetch_unresolvable", field="uri") from None
    except UnicodeError:
        raise _not_allowed(f"{host[:100]!r} is no host name") from None
    return {ipaddress.ip_address(address[0]) for *_, address in found}


class Fetcher:
    """Fetches documents of at most `max_bytes` each, all redirects included within `timeout_seconds`.

    Tests name what else may be reached (`reachable`, `ports`), who looks names up, and whose certificates count.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        timeout_seconds: float,
        max_redirects: int,
        reachable: Callable[[Address], bool] = is_public,
        ports: Collection[int] = (HTTPS_PORT,),
        resolve: Resolve = resolve,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._max_redirects = max_redirects
        self._reachable = reachable
        self._ports = ports
        self._resolve = resolve
        self._given_trust = trust

    async def fetch(self, address: str) -> Fetched:
        """Return what is at an address; Rejected when it must not or can't be had, NotYet when it may be later."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._follow(address)
        except TimeoutError:
            reason = f"the server of `uri` did not send it within {self._timeout_seconds:g} s"
            raise NotYet(reason, code="fetch_failed") from None
        except httpx.HTTPError as error:
            raise _failure(error) from None

    async def _follow(self, address: str) -> Fetched:
        url = _parsed(address)
        for _ in range(self._max_redirects + 1):
            found = await self._get(url)
            if isinstance(found, Fetched):
                return found
            url = found
        raise _refused(f"it redirects more than {self._max_redirects} times")

    async def _get(self, url: httpx.URL) -> Fetched | httpx.URL:
        """Return what is there, or where it is instead."""
        self._check(url)
        pinned = await self._pinned(url)
        # A client of its own for each hop: a kept connection to the same address would skip the check of another name.
        async with httpx.AsyncClient(verify=self._trust, trust_env=False, timeout=self._timeout_seconds) as client:
            request = client.build_request(
                "GET",
                url.copy_with(host=str(pinned), fragment=None),
                headers={
                    "Host": url.netloc.decode(),
                    "Accept-Encoding": "identity",
                    "User-Agent": f"rag-platform/{VERSION}",
                },
                extensions={"sni_hostname": url.raw_host.decode().strip("[]")},
            )
            response = await client.send(request, stream=True)
            try:
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    return _joined(url, response.headers["location"])
                _check_status(response)
                content = await self._body(response)
                return Fetched(content, _media_type(response), _filename(response, url))
            finally:
                await response.aclose()

    def _check(self, url: httpx.URL) -> None:
        if url.scheme != "https":
            raise _not_allowed(f"only https is fetched, not {url.scheme!r}")
        if url.userinfo:
            raise _not_allowed("it must not hold a user name or a password")
        if not url.host:
            raise _not_allowed("it names no host")
        if (url.port or HTTPS_PORT) not in self._ports:
            raise _not_allowed(f"port {url.port} is not fetched from")

    async def _pinned(self, url: httpx.URL) -> Address:
        found = await self._resolve(url.raw_host.decode().strip("[]"), url.port or HTTPS_PORT)
        if not found or not all(map(self._reachable, found)):
            # Which address it is would tell the caller about our network.
            raise _not_allowed(f"{url.host[:100]!r} is not on the public internet")
        # Networks that know no IPv6 are more common than those that know nothing else.
        return min(found, key=lambda address: (address.version, int(address)))

    async def _body(self, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise _refused("its server sends it compressed, which was not asked for")
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise self._too_large()
        content = bytearray()
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > self._max_bytes:
                raise self._too_large()
        return bytes(content)

    def _too_large(self) -> Rejected:
        return Rejected(f"what is at `uri` is over the limit of {self._max_bytes} bytes", code="too_large", field="uri")

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return self._given_trust or httpx.create_ssl_context(trust_env=False)


def _parsed(address: str) -> httpx.URL:
    try:
        return httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        raise _not_allowed("it is no valid address") from None


def _joined(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return url.join(location)
    except (httpx.InvalidURL, ValueError):
        raise _refused("it redirects to what is no valid address") from None


def _check_status(response: httpx.Response) -> None:
    status = response.status_code
    if status in _TRANSIENT or status >= 500:
        after = response.headers.get("retry-after", "")
        seconds = min(int(after), MAX_RETRY_AFTER_SECONDS) if after.isdecimal() else None
        raise NotYet(f"the server of `uri` answered {status}", code="fetch_failed", retry_after_seconds=seconds)
    if status != 200:
        raise _refused(f"its server answered {status}")


def _failure(error: httpx.HTTPError) -> Rejected | NotYet:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = f"the certificate of its server does not hold: {cause.verify_message}"
            return Rejected(f"`uri` can't be fetched: {reason}", code="fetch_untrusted", field="uri")
        cause = cause.__cause__ or cause.__context__
    return NotYet(f"`uri` could not be fetched: {type(error).__name__}", code="fetch_failed")


def _media_type(response: httpx.Response) -> str | None:
    given = response.headers.get("content-type", "")
    return None if given.partition(";")[0].strip().lower() in ("", _UNKNOWN_MEDIA_TYPE) else given[:255]


def _filename(response: httpx.Response, url: httpx.URL) -> str | None:
    """Return the last part of a name, which only tells what the content may be."""
    header = Message()
    header["Content-Disposition"] = response.headers.get("content-disposition", "")
    named = header.get_filename() or unquote(url.path)
    name = "".join(filter(str.isprintable, PureWindowsPath(named).name))
    return name[-MAX_FILENAME_CHARACTERS:] or None


def _not_allowed(reason: str) -> Rejected:
    return Rejected(f"`uri` may not be fetched: {reason}", code="url_not_allowed", field="uri")


def _refused(reason: str) -> Rejected:
    return Rejected(f"`uri` can't be fetched: {reason}", code="fetch_refused", field="uri")
