"""The HTTP server of one service, and what signals do to it.

The first SIGTERM or SIGINT begins the shutdown at once: the process says that it is not ready, streams and waits end,
and the server takes no more connections. The rest follows in order (see `shared/service.py`).
"""

import asyncio
import signal
import socket
from contextlib import suppress
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from shared.health import health_routes
from shared.logs import configure_logging
from shared.service import EXIT_START_FAILED, Lifespan, Service, service_lifespan
from shared.settings import PlatformSettings


class _Server(uvicorn.Server):
    """Tells the service of the first signal before anything else happens."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal comes, also one that came before."""
        self._loop = asyncio.get_running_loop()
        if self.should_exit:
            self._service.begin_shutdown()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown; called in the main thread, between any two steps of it."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._service.begin_shutdown)
        super().handle_exit(sig, frame)


def run_service(name: str, settings: PlatformSettings, lifespan: Lifespan) -> None:
    """Run a service that has no HTTP interface but health; returns after SIGTERM or SIGINT."""
    configure_logging(settings, name)
    service = Service(name, settings)
    app = Starlette(routes=health_routes(service.health), lifespan=service_lifespan(service, lifespan))
    serve(app, service)


def serve(app: ASGIApp, service: Service) -> None:
    """Serve an ASGI app until a signal comes; SystemExit with 2 or 1 when it could not start."""
    settings = service.settings
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )
    server = _Server(config, service)
    # From now on, and not only once the loop runs. Uvicorn raises the signal again after its shutdown: that changes
    # nothing, and a process that drained in order ends with 0.
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, server.handle_exit)
    with suppress(SystemExit):  # The server's own code for a failed start says less than ours.
        server.run()
    if not server.started:
        raise SystemExit(EXIT_START_FAILED if service.failed_start is None else service.failed_start)
