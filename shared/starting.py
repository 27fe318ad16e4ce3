"""Listening at once: the HTTP server answers while the service behind it still starts.

Without it callers of a process that waits for the broker are refused a connection, and probes can't tell why.
"""

import asyncio
import os
import signal

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from shared.service import Service


class StartBeside:
    """An ASGI app whose lifespan runs beside the server; a start that fails ends the process."""

    def __init__(self, app: Starlette, service: Service) -> None:
        self._app = app
        self._service = service
        self._leave = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on every request; see to the lifespan here."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        running = asyncio.create_task(self._run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._service.begin_shutdown()
        self._leave.set()
        await asyncio.wait([running])
        if running.exception() is not None and self._service.failed_start is None:
            await send({"type": "lifespan.shutdown.failed", "message": repr(running.exception())})
            running.result()
        await send({"type": "lifespan.shutdown.complete"})

    async def _run(self) -> None:
        try:
            async with self._app.router.lifespan_context(self._app):
                await self._leave.wait()
        except Exception:
            # Closing what had started begins a shutdown too: a start that failed by itself was asked for none.
            if self._service.failed_start or not self._service.shutting_down.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
            raise
