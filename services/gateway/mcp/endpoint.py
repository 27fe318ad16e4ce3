"""The server behind `/mcp`, made when it is first called.

Its library adds 25 MB and 40 % to the time of the gateway's imports; who does not use it shall not pay for it.
"""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from opentelemetry.trace import Tracer

from shared.errors import Unavailable

if TYPE_CHECKING:
    from services.gateway.mcp.server import McpServer


class McpEndpoint:
    """Makes the server once and keeps it running until `close`; `hosts` are the names it may be called under."""

    def __init__(self, tracer: Tracer, *, hosts: tuple[str, ...], max_body_bytes: int) -> None:
        self._tracer = tracer
        self._hosts = hosts
        self._max_body_bytes = max_body_bytes
        self._making = asyncio.Lock()
        self._server: McpServer | None = None
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def server(self) -> "McpServer":
        """Return the running server; Unavailable when the gateway ends."""
        async with self._making:
            if self._closed:
                raise Unavailable("the gateway is about to end")
            if self._server is None or self._running is None or self._running.done():
                # Beside the event loop, which serves others meanwhile.
                self._server = await asyncio.to_thread(self._make)
                self._running = asyncio.create_task(self._server.run())
                await self._server.wait_until_running()
            return self._server

    async def close(self) -> None:
        """End what is still being served, and serve nothing more."""
        self._closed = True
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    def _make(self) -> "McpServer":
        # Imported here because it is slow, see above.
        from services.gateway.mcp.server import McpServer
        from services.gateway.mcp.tools import TOOLS

        return McpServer(TOOLS, self._tracer, hosts=self._hosts, max_body_bytes=self._max_body_bytes)
