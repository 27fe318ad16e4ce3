"""The HTTP server of one service, and what signals do to it.

The first SIGTERM or SIGINT begins the shutdown at once: the process says that it is not ready, streams and waits end,
nothing more is fetched. What runs is finished, messages first, then HTTP requests; the rest follows in order (see
`shared/service.py`). A second signal cuts off what still runs, and a last bound ends a process that can't end.
"""

import asyncio
import signal
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from shared.ending import CLOSING_SECONDS, LastBound
from shared.error_reports import configure_error_reports
from shared.health import health_routes
from shared.http_protocol import bounded_protocol
from shared.logs import configure_logging
from shared.service import EXIT_START_FAILED, Lifespan, Service, service_lifespan
from shared.settings import PlatformSettings
from shared.starting import StartBeside


class _Server(uvicorn.Server):
    """Tells the service of signals before anything else happens."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self._last_bound = LastBound(service.settings.drain_seconds + CLOSING_SECONDS)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal comes, also one that came before."""
        self._loop = asyncio.get_running_loop()
        if self.should_exit:
            self._service.begin_shutdown()
        try:
            await super().serve(sockets)
        finally:
            self._last_bound.closed()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown, or hurry it; called in the main thread, between any two steps of it."""
        self._last_bound.start()
        step = self._hurry if self.should_exit else self._service.begin_shutdown
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(step)

    def _hurry(self) -> None:
        self._service.ending.hurry()
        for task in self.server_state.tasks:
            task.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop fetching before anything waits for a caller; both share the bound."""
        await self._service.stop()
        self.config.timeout_graceful_shutdown = max(1, round(self._service.ending.remaining_seconds))
        await super().shutdown(sockets)


def run_service(name: str, settings: PlatformSettings, lifespan: Lifespan, routes: Sequence[Route] = ()) -> None:
    """Run a service that serves HTTP for health, and the given routes; returns after SIGTERM or SIGINT."""
    configure_logging(settings, name)
    configure_error_reports(settings, name)
    service = Service(name, settings)
    app = Starlette(routes=[*health_routes(service.health), *routes], lifespan=service_lifespan(service, lifespan))
    serve(app, service)


def serve(app: Starlette, service: Service, tls: ssl.SSLContext | None = None) -> None:
    """Serve an ASGI app until a signal comes, over TLS where there is a context for it.

    SystemExit with 2 or 1 when it could not start, with 1 when it failed later.
    """
    settings = service.settings
    config = uvicorn.Config(
        StartBeside(app, service),
        host=settings.host,
        port=settings.port,
        http=bounded_protocol(max_head_bytes=settings.http_max_head_bytes, head_seconds=settings.http_head_seconds),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    server = _Server(config, service)
    # From now on, and not only once the loop runs.
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, server.handle_exit)
    with suppress(SystemExit):  # The server's own code for a failed start says less than ours.
        server.run()
    if service.failed_start is not None and server.started:
        raise SystemExit(service.failed_start)
    if service.failed or not server.started:
        raise SystemExit(EXIT_START_FAILED)
