"""Problems of `/mcp` in the form that the protocol's clients can show: of any other they pass on nothing."""

from collections.abc import Iterable
from typing import Any, Final

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.problems import MEDIA_TYPE
from services.gateway.replies import json_bytes

MCP_PATHS: Final = frozenset({"/mcp", "/mcp/"})
_INVALID_REQUEST: Final = -32600
_INTERNAL_ERROR: Final = -32603
_LENGTH_AND_TYPE: Final = (b"content-length", b"content-type")


class McpRefusals:
    """Turns a problem that answers a request to `/mcp` into a JSON-RPC error with the problem as its data."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        translated = scope["type"] == "http" and scope["path"] in MCP_PATHS
        await self._app(scope, receive, _Translation(send).send if translated else send)


class _Translation:
    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_problem(message["headers"]):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            # A problem is one piece; what may follow it is empty and only keeps the connection open for a while.
            start, self._start = self._start, None
            body = _error_of(start["status"], orjson.loads(message["body"]))
            headers = [(name, value) for name, value in start["headers"] if name not in _LENGTH_AND_TYPE]
            length = (b"content-length", str(len(body)).encode())
            await self._send({**start, "headers": [*headers, length, (b"content-type", b"application/json")]})
            await self._send({**message, "body": body})


def _is_problem(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return (b"content-type", MEDIA_TYPE.encode()) in headers


def _error_of(status: int, problem: dict[str, Any]) -> bytes:
    code = _INVALID_REQUEST if status < 500 else _INTERNAL_ERROR
    message = f"{problem['code']}: {problem['detail']}"
    return json_bytes({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message, "data": problem}})
