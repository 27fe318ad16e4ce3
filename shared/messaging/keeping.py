"""Keeping what was fetched: the broker hears that it is still wanted, in work or waiting for a worker.

Without it a message that waits behind slow work, or for room in a full queue, is delivered again each time its ack wait
is over, until the bound of deliveries makes a dead letter of a document that nobody has even looked at.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from weakref import WeakValueDictionary

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from contracts.topology import Consumer
from shared.messaging.pulling import ContinuousPull

BEATS_PER_ACK_WAIT: Final = 3


class KeptPull(ContinuousPull):
    """A continuous pull that reports progress on every message which it holds and which is not settled."""

    def __init__(self, subscription: JetStreamContext.PullSubscription, consumer: Consumer) -> None:
        super().__init__(subscription, consumer.linger_seconds)
        # By reply subject, which names the delivery; a message that was settled and let go of leaves by itself.
        self._fetched: WeakValueDictionary[str, Msg] = WeakValueDictionary()
        self._beating = asyncio.create_task(self._beat(consumer.ack_wait_seconds / BEATS_PER_ACK_WAIT))

    @property
    def holds_work(self) -> bool:
        """Tell whether messages are in work here, or wait for it."""
        return bool(self._unsettled())

    def let_go(self) -> list[Msg]:
        """Keep nothing any more; return what this process holds and has not settled."""
        self._beating.cancel()
        return self._unsettled()

    def _accept(self, message: Msg) -> Msg | None:
        accepted = super()._accept(message)
        if accepted is not None:
            self._fetched[accepted.reply] = accepted
        return accepted

    async def _beat(self, interval_seconds: float) -> None:
        while True:
            await asyncio.sleep(interval_seconds)
            for message in self._unsettled():
                with suppress(NatsError):  # A broker that is away will redeliver; the effect is idempotent.
                    await message.in_progress()

    def _unsettled(self) -> list[Msg]:
        # What has arrived but was not fetched ages as well; a message without a reply speaks of the request alone.
        waiting: Iterable[Msg] = self._queue._queue  # type: ignore[attr-defined]  # The library lets nobody look.
        arrived = [message for message in waiting if message.reply]
        return [*arrived, *(message for message in self._fetched.values() if not message.is_acked)]
