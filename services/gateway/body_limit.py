"""Bounds on what a request may bring: refused as early as possible, and so that the caller can read why."""

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.mcp.refusals import MCP_PATHS
from services.gateway.problems import RequestProblem, problem_of
from services.gateway.seats import Seats
from shared.errors import Overloaded

DOCUMENTS_PATH: Final = "/v1/documents"
_CLOSE: Final = (b"connection", b"close")


class BodyLimit:
    """Refuses a body over the limit of its path with 413, before reading it when its length is announced."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_documents_bytes: int,
        max_mcp_bytes: int,
        max_body_bytes: int,
        max_held_bytes: int,
        idle_seconds: float,
        linger_seconds: float,
    ) -> None:
        self._app = app
        self._held = Seats(max_held_bytes, "too many large requests are in work at the same time")
        self._limits = {DOCUMENTS_PATH: max_documents_bytes, **dict.fromkeys(MCP_PATHS, max_mcp_bytes)}
        self._max_body_bytes = max_body_bytes
        self._idle_seconds = idle_seconds
        self._linger_seconds = linger_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limits.get(scope["path"], self._max_body_bytes)
        body = _BoundedBody(receive, send, limit, self._held, self._idle_seconds, self._linger_seconds)
        try:
            if _announced_length(scope) > limit:
                await problem_of(body.refuse())(scope, body.receive, body.send)
            else:
                await self._app(scope, body.receive, body.send)
        finally:
            self._held.give_back(body.held_bytes)


class _BoundedBody:
    def __init__(
        self, receive: Receive, send: Send, limit: int, held: Seats, idle_seconds: float, linger_seconds: float
    ) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._linger_seconds = linger_seconds
        self._held = held
        self.held_bytes = 0
        self._received = 0
        self._complete = False
        self._refused = False

    def refuse(self) -> RequestProblem:
        self._refused = True
        return RequestProblem(413, "too_large", f"the body is larger than the limit of {self._limit} bytes")

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._idle_seconds):
                message = await self._next()
        except TimeoutError:
            self._refused = self._complete = True
            raise RequestProblem(408, "body_timeout", f"the body stopped for {self._idle_seconds:g} s") from None
        if self._received > self._limit:
            raise self.refuse()
        self._hold(len(message.get("body", b"")))
        return message

    async def send(self, message: Message) -> None:
        if not self._refused:
            await self._send(message)
        elif message["type"] == "http.response.start":
            await self._send({**message, "headers": [*message["headers"], _CLOSE]})
        else:
            await self._send_and_linger(message)

    def _hold(self, size_bytes: int) -> None:
        try:
            self._held.take(size_bytes)
        except Overloaded:
            self._refused = True
            raise
        self.held_bytes += size_bytes

    async def _next(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        return message

    async def _send_and_linger(self, message: Message) -> None:
        """Read on for a while after the answer: a connection that closes on unread bytes is reset, answer and all."""
        await self._send({**message, "more_body": True})
        try:
            async with asyncio.timeout(self._linger_seconds):
                while not self._complete:
                    await self._next()
        except TimeoutError:
            self._complete = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _announced_length(scope: Scope) -> int:
    length: bytes = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(length) if length.isdigit() else 0
