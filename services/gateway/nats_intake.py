"""How far persistence has come with what a queue took."""

import asyncio
import time
from typing import Final

from nats.aio.client import Client

from contracts.topology import INTAKE, Consumer
from shared.errors import Unavailable
from shared.messaging.stream_progress import StreamProgress

_FIRST_PAUSE_SECONDS: Final = 0.02


class Intake:
    """Waits for persistence, so that "there is no such document" is said only of what was never accepted.

    `what` names to people what `consumer` brings.
    """

    def __init__(
        self, client: Client, *, settle_seconds: float, consumer: Consumer = INTAKE, what: str = "documents"
    ) -> None:
        self._progress = StreamProgress(client, consumer, timeout_seconds=settle_seconds)
        self._what = what
        self._settle_seconds = settle_seconds

    async def catch_up(self) -> None:
        """Return once all that was accepted before this call is recorded; Unavailable when that is not so in time."""
        deadline = time.monotonic() + self._settle_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        standing = await self._progress.look()
        last = standing.last
        while standing.done < last:
            if time.monotonic() + pause_seconds > deadline:
                raise Unavailable(
                    f"{self._what} that were accepted lately are not recorded yet, and this one may be among them",
                    code="not_recorded_yet",
                )
            await asyncio.sleep(pause_seconds)
            pause_seconds *= 2
            standing = await self._progress.look()
