"""A bound on the requests in work: callers who come faster than they are served are refused, not collected."""

import asyncio
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.problems import problem_of
from services.gateway.seats import Seats
from shared.errors import Overloaded
from shared.logs import get_logger

log = get_logger(__name__)


class StoppedReading(Exception):
    """The caller does not take its answer."""


class Admission:
    """Refuses a request with 503 when `max_requests` are in work; the paths in `exempt` always get through.

    A caller that takes nothing of its answer for `send_seconds` loses its place.
    """

    def __init__(self, app: ASGIApp, *, max_requests: int, send_seconds: float, exempt: Collection[str]) -> None:
        self._app = app
        self._seats = Seats(max_requests, "too many requests are in work at the same time")
        self._send_seconds = send_seconds
        self._exempt = frozenset(exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in self._exempt:
            await self._app(scope, receive, send)
            return
        try:
            self._seats.take(1)
        except Overloaded as error:
            await problem_of(error)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, self._bounded(send))
        except StoppedReading:
            log.warning("caller_stopped_reading", path=scope["path"], seconds=self._send_seconds)
        finally:
            self._seats.give_back(1)

    def _bounded(self, send: Send) -> Send:
        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._send_seconds):
                    await send(message)
            except TimeoutError:
                raise StoppedReading from None

        return send_in_time
