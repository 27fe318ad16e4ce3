"""Fetching from real TLS servers on loopback; only what counts as reachable, and who looks names up, is the test's."""

import ipaddress
import ssl
from collections.abc import AsyncIterator, Collection

import pytest

from services.parser.addresses import Address, is_public
from services.parser.httpx_fetching import Fetcher, resolve
from shared.errors import NotYet, PlatformError, Rejected
from tests.tls_server import Reply, TlsServer, tls_server

LOOPBACK = ipaddress.ip_address("127.0.0.1")
MAX_BYTES = 10_000


class Names:
    """Looks names up in a table; a name's next look-up finds its next entry."""

    def __init__(self, **known: list[list[str]]) -> None:
        self.known = {name.replace("_", "."): list(found) for name, found in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Collection[Address]:
        self.asked.append(host)
        answers = self.known[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return {ipaddress.ip_address(one) for one in found}


def fetcher(server: TlsServer, names: Names, *, trust: ssl.SSLContext | None = None, seconds: float = 10) -> Fetcher:
    return Fetcher(
        max_bytes=MAX_BYTES,
        timeout_seconds=seconds,
        max_redirects=2,
        reachable=lambda address: address == LOOPBACK or is_public(address),
        ports={server.port},
        resolve=names,
        trust=trust or server.trust,
    )


@pytest.fixture
async def server() -> AsyncIterator[TlsServer]:
    async with tls_server("docs.example") as running:
        yield running


def names() -> Names:
    return Names(docs_example=[["127.0.0.1"]])


async def refusal(fetching: Fetcher, address: str) -> PlatformError:
    with pytest.raises((Rejected, NotYet)) as raised:
        await fetching.fetch(address)
    return raised.value


async def test_a_document_comes_with_what_its_server_says_of_it(server: TlsServer) -> None:
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Disposition": 'attachment; filename="../../a b.html"',
    }
    server.replies["/a?b=%20c"] = Reply(headers=headers, body=b"<p>text")
    fetched = await fetcher(server, names()).fetch(server.address("/a?b=%20c#part"))
    assert (fetched.content, fetched.media_type, fetched.filename) == (
        b"<p>text",
        "text/html; charset=utf-8",
        "a b.html",
    )
    [head] = server.heads
    assert f"host: docs.example:{server.port}\r\n" in head.lower()
    assert "accept-encoding: identity" in head.lower()
    assert "cookie" not in head.lower()
    assert "authorization" not in head.lower()


async def test_without_a_name_in_the_answer_the_address_tells_it(server: TlsServer) -> None:
    server.replies["/x/report%00.pdf"] = Reply(headers={"Content-Type": "application/octet-stream"}, body=b"%PDF")
    fetched = await fetcher(server, names()).fetch(server.address("/x/report%00.pdf"))
    assert (fetched.media_type, fetched.filename) == (None, "report.pdf")


@pytest.mark.parametrize(
    "address",
    [
        "http://docs.example/",
        "ftp://docs.example/",
        "file:///etc/passwd",
        "https://user:secret@docs.example:{port}/",
        "https://user@docs.example:{port}/",
        "https://docs.example:22/",
        "https:///nothing",
        "https://[::1",
        "https://docs.example:99999/",
    ],
)
async def test_what_is_not_to_be_fetched_is_refused_before_anything_is_looked_up(
    server: TlsServer, address: str
) -> None:
    looked_up = names()
    error = await refusal(fetcher(server, looked_up), address.format(port=server.port))
    assert isinstance(error, Rejected)
    assert (error.error_code, error.field, looked_up.asked, server.heads) == ("url_not_allowed", "uri", [], [])
    assert "secret" not in error.message


@pytest.mark.parametrize(
    "found", [["10.0.0.1"], ["169.254.169.254"], ["127.0.0.1", "10.0.0.1"], ["::ffff:127.0.0.1"], []]
)
async def test_a_name_with_one_address_that_is_not_public_is_not_reached(server: TlsServer, found: list[str]) -> None:
    error = await refusal(fetcher(server, Names(docs_example=[found])), server.address("/"))
    assert isinstance(error, Rejected)
    assert error.error_code == "url_not_allowed"
    assert not any(address in error.message for address in found)
    assert server.heads == []


async def test_without_the_hook_of_tests_loopback_is_refused_under_every_spelling(server: TlsServer) -> None:
    strict = Fetcher(max_bytes=MAX_BYTES, timeout_seconds=10, max_redirects=2, ports={server.port}, trust=server.trust)
    for host in ("localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"):
        error = await refusal(strict, server.address("/", host))
        assert error.error_code == "url_not_allowed", host
    assert server.heads == []


async def test_a_name_that_leads_elsewhere_at_the_next_look_up_is_looked_up_once(server: TlsServer) -> None:
    """INVARIANT: what is connected to is the address that was checked: rebinding a name changes nothing."""
    server.replies["/a"] = Reply(body=b"text")
    rebinding = Names(docs_example=[["127.0.0.1"], ["10.0.0.1"]])
    assert (await fetcher(server, rebinding).fetch(server.address("/a"))).content == b"text"
    assert rebinding.asked == ["docs.example"]


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("https://inner.example:{port}/", "url_not_allowed"),
        ("https://169.254.169.254:{port}/latest/meta-data", "url_not_allowed"),
        ("http://docs.example:{port}/", "url_not_allowed"),
        ("//user:x@docs.example:{port}/", "url_not_allowed"),
        ("/a", "fetch_refused"),
        ("https://[", "url_not_allowed"),
    ],
)
async def test_every_redirect_is_checked_like_the_first_address(server: TlsServer, location: str, code: str) -> None:
    server.replies["/a"] = Reply("302 Found", {"Location": location.format(port=server.port)})
    known = Names(docs_example=[["127.0.0.1"]], inner_example=[["10.0.0.1"]])
    known.known["169.254.169.254"] = [["169.254.169.254"]]
    error = await refusal(fetcher(server, known), server.address("/a"))
    assert isinstance(error, Rejected)
    assert error.error_code == code


async def test_a_name_that_is_rebound_between_two_hops_is_refused(server: TlsServer) -> None:
    server.replies["/a"] = Reply("302 Found", {"Location": "/b"})
    server.replies["/b"] = Reply(body=b"text")
    rebinding = Names(docs_example=[["127.0.0.1"], ["10.0.0.1"]])
    assert (await refusal(fetcher(server, rebinding), server.address("/a"))).error_code == "url_not_allowed"
    assert len(server.heads) == 1


async def test_a_redirect_within_the_bound_is_followed(server: TlsServer) -> None:
    server.replies["/a"] = Reply("301 Moved", {"Location": "/b"})
    server.replies["/b"] = Reply("307 Moved", {"Location": server.address("/c.txt")})
    server.replies["/c.txt"] = Reply(body=b"text")
    fetched = await fetcher(server, names()).fetch(server.address("/a"))
    assert (fetched.content, fetched.filename) == (b"text", "c.txt")


async def test_a_certificate_must_be_that_of_the_name_and_of_a_known_authority(server: TlsServer) -> None:
    server.replies["/"] = Reply(body=b"text")
    other = Names(other_example=[["127.0.0.1"]])
    for fetching, host in (
        (fetcher(server, other), "other.example"),
        (fetcher(server, names(), trust=ssl.create_default_context()), "docs.example"),
    ):
        error = await refusal(fetching, server.address("/", host))
        assert isinstance(error, Rejected)
        assert error.error_code == "fetch_untrusted"
    assert server.heads == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"a" * (MAX_BYTES + 1)),
        Reply(headers={"Content-Length": str(10**12)}),
        Reply(headers={"Transfer-Encoding": "chunked"}, body=b"2711\r\n" + b"a" * 10_001 + b"\r\n0\r\n\r\n"),
    ],
    ids=["all there", "announced", "chunked"],
)
async def test_too_much_is_refused(server: TlsServer, reply: Reply) -> None:
    server.replies["/"] = reply
    error = await refusal(fetcher(server, names()), server.address("/"))
    assert isinstance(error, Rejected)
    assert error.error_code == "too_large"


async def test_what_is_compressed_unasked_is_not_unpacked(server: TlsServer) -> None:
    server.replies["/"] = Reply(headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b")
    assert (await refusal(fetcher(server, names()), server.address("/"))).error_code == "fetch_refused"


@pytest.mark.parametrize("status", ["400 Bad", "401 No", "403 No", "404 No", "206 Partial", "304 Same"])
async def test_what_the_server_refuses_is_not_tried_again(server: TlsServer, status: str) -> None:
    server.replies["/"] = Reply(status)
    error = await refusal(fetcher(server, names()), server.address("/"))
    assert isinstance(error, Rejected)
    assert error.error_code == "fetch_refused"
    assert status[:3] in error.message


@pytest.mark.parametrize("status", ["408 Late", "429 Busy", "500 Broken", "503 Away"])
async def test_what_may_go_away_is_tried_again_when_the_server_says(server: TlsServer, status: str) -> None:
    server.replies["/"] = Reply(status, {"Retry-After": "100000"})
    error = await refusal(fetcher(server, names()), server.address("/"))
    assert isinstance(error, NotYet)
    assert (error.error_code, error.retry_after_seconds) == ("fetch_failed", 300)


async def test_a_server_that_does_not_finish_in_time_is_tried_again(server: TlsServer) -> None:
    server.replies["/"] = Reply(headers={"Content-Length": "100"}, body=b"a", hold_seconds=2)
    error = await refusal(fetcher(server, names(), seconds=0.5), server.address("/"))
    assert isinstance(error, NotYet)
    assert "0.5 s" in error.message


async def test_a_connection_that_breaks_or_is_refused_is_tried_again(server: TlsServer) -> None:
    server.replies["/"] = Reply(headers={"Content-Length": "100"}, body=b"a")
    assert isinstance(await refusal(fetcher(server, names()), server.address("/")), NotYet)
    closed = Names(docs_example=[["127.0.0.1"]])
    fetching = fetcher(server, closed)
    fetching._ports = {1}
    assert isinstance(await refusal(fetching, "https://docs.example:1/"), NotYet)


async def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(Rejected) as raised:
        await resolve("a" * 300 + ".example", 443)
    assert raised.value.error_code in ("url_not_allowed", "fetch_unresolvable")
