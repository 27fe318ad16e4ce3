"""How far persistence has come with what a queue took."""

import asyncio
import time
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import ConsumerInfo

from contracts.topology import INTAKE, Consumer
from shared.errors import Unavailable

_FIRST_PAUSE_SECONDS: Final = 0.02


class Intake:
    """Waits for persistence, so that "there is no such document" is said only of what was never accepted.

    `what` names to people what `consumer` brings.
    """

    def __init__(
        self, client: Client, *, settle_seconds: float, consumer: Consumer = INTAKE, what: str = "documents"
    ) -> None:
        self._consumer = consumer
        self._what = what
        self._jetstream = client.jetstream()
        self._settle_seconds = settle_seconds

    async def catch_up(self) -> None:
        """Return once all that was accepted before this call is recorded; Unavailable when that is not so in time."""
        deadline = time.monotonic() + self._settle_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        try:
            last = (await self._jetstream.stream_info(self._consumer.stream)).state.last_seq
            while not _has_seen(await self._jetstream.consumer_info(self._consumer.stream, self._consumer.name), last):
                if time.monotonic() + pause_seconds > deadline:
                    raise Unavailable(
                        f"{self._what} that were accepted lately are not recorded yet, and this one may be among them",
                        code="not_recorded_yet",
                    )
                await asyncio.sleep(pause_seconds)
                pause_seconds *= 2
        except (NatsError, TimeoutError) as error:
            raise Unavailable(f"the broker does not tell what is recorded: {type(error).__name__}") from error


def _has_seen(info: ConsumerInfo, sequence: int) -> bool:
    if not info.num_pending and not info.num_ack_pending:
        return True
    return info.ack_floor is not None and info.ack_floor.stream_seq >= sequence
