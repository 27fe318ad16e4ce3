"""A real HTTPS server on a loopback port for tests, with a certificate of an authority made for the test."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trustme


@dataclass
class Reply:
    """An answer; the headers and the body go out as they are, then the connection stays for `hold_seconds`."""

    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hold_seconds: float = 0.0


@dataclass
class TlsServer:
    """Answers each path with its reply, and remembers the heads of the requests."""

    port: int
    trust: ssl.SSLContext
    replies: dict[str, Reply] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)

    def address(self, path: str, host: str = "docs.example") -> str:
        """Return where a path is."""
        return f"https://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            reply = self.replies.get(head.split(" ")[1], Reply("404 Not Found"))
            length = {} if "Transfer-Encoding" in reply.headers else {"Content-Length": str(len(reply.body))}
            headers = {**length, "Connection": "close", **reply.headers}
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"HTTP/1.1 {reply.status}\r\n{lines}\r\n".encode() + reply.body)
            await writer.drain()
            await asyncio.sleep(reply.hold_seconds)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def tls_server(*names: str) -> AsyncIterator[TlsServer]:
    """Run a server with a certificate for these names until the block ends."""
    authority = trustme.CA()
    own, trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert(*names).configure_cert(own)
    authority.configure_trust(trust)
    running = TlsServer(0, trust)
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0, ssl=own)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
