"""Binding handlers to durable consumers, and giving back what was fetched when the process stops."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar, cast

from faststream.middlewares import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from faststream.nats.subscriber.usecases import ConcurrentPullStreamSubscriber, PullStreamSubscriber
from nats.aio.msg import Msg

from contracts.codec import decode
from contracts.messages import Message
from contracts.topology import Consumer
from shared.ending import Ending
from shared.logs import bind_document
from shared.messaging.delivery import Delivery
from shared.messaging.keeping import KeptPull

M = TypeVar("M", bound=Message)
Handler = Callable[[M, Delivery], Awaitable[None]]
RawHandler = Callable[[Delivery], Awaitable[None]]

FETCH_SECONDS = 1.0
MAX_FETCH = 32
# A handler that was cut off gets this long to notice.
CANCEL_SECONDS = 1.0


def consume_raw(broker: NatsBroker, consumer: Consumer, handler: RawHandler, *, workers: int) -> PullStreamSubscriber:
    """Give a handler every message of a durable consumer, `workers` at a time, undecoded."""

    subscriber = cast(
        PullStreamSubscriber,
        broker.subscriber(
            # The durable already exists with all its filters; the subject only serves FastStream's own bookkeeping.
            consumer.filter_subjects[0],
            stream=JStream(consumer.stream, declare=False),
            durable=consumer.name,
            # A batch no larger than the workers: what waits in the process ages while other replicas starve.
            pull_sub=PullSub(batch_size=min(workers, MAX_FETCH), timeout=FETCH_SECONDS),
            # The client's own, which the library would replace by its default.
            inbox_prefix=cast(bytes, None),
            max_workers=workers,
            ack_policy=AckPolicy.MANUAL,
            # A `reply_to` header of a producer would otherwise make FastStream publish where the producer may not.
            no_reply=True,
            decoder=_delivery,
            title=consumer.name,
        ),
    )
    subscriber(handler)
    return subscriber


def consume(
    broker: NatsBroker, consumer: Consumer, model: type[M], handler: Handler[M], *, workers: int
) -> PullStreamSubscriber:
    """Give a handler every message of a durable consumer, decoded; what can't be decoded is a dead letter."""

    async def call(delivery: Delivery) -> None:
        message = decode(model, delivery.payload)
        bind_document(message)
        await handler(message, delivery)

    return consume_raw(broker, consumer, call, workers=workers)


async def _delivery(received: NatsMessage) -> Delivery:
    """Take the place of FastStream's decoding: the message's own bytes are decoded where a failure can be judged."""
    return Delivery.of(received.raw_message)


class Draining:
    """Stops subscribers so that each fetched message is either finished or given back."""

    def __init__(self, subscribers: list[PullStreamSubscriber]) -> None:
        self._subscribers = subscribers
        self.given_back = 0
        for subscriber in subscribers:
            self._give_back_when_stopped(subscriber)

    def pull_continuously(self, consumers: Iterable[Consumer]) -> dict[str, KeptPull]:
        """Replace the library's way to fetch once subscribers have started; return the pulls by durable."""
        declared = {consumer.name: consumer for consumer in consumers}
        pulls: dict[str, KeptPull] = {}
        for subscriber in self._subscribers:
            if subscriber.subscription is not None:
                consumer = declared[subscriber.subscription._consumer]
                subscriber.subscription = pulls[consumer.name] = KeptPull(subscriber.subscription, consumer)
        return pulls

    def _give_back_when_stopped(self, subscriber: PullStreamSubscriber) -> None:
        """FastStream drops what it fetched but did not start; until the ack wait is over nobody else would get it."""
        process = subscriber.consume

        async def consume_or_give_back(message: Msg) -> Any:
            if subscriber.running:
                return await process(message)
            self.given_back += 1
            return await message.nak()

        subscriber.consume = consume_or_give_back  # type: ignore[method-assign, assignment]

    async def drain(self, ending: Ending, abandon: Callable[[Msg], None]) -> None:
        """Stop fetching, finish what runs, give back what waits, cut off what has not ended within the bound.

        `abandon` is called with each message that is left after that: its handler does not notice that it was cut off.
        """
        for subscriber in self._subscribers:
            subscriber.running = False
        await asyncio.gather(*(self._drain_one(item, ending, abandon) for item in self._subscribers))

    async def _drain_one(
        self, subscriber: PullStreamSubscriber, ending: Ending, abandon: Callable[[Msg], None]
    ) -> None:
        """Let the fetch in progress end first: what it brings is given back, or waits behind what is running."""
        tasks = list(subscriber.tasks)
        pull = subscriber.subscription
        if isinstance(subscriber, ConcurrentPullStreamSubscriber):
            _, *fetching = tasks
            await ending.wait_for(fetching)
            subscriber.send_stream.close()
        if isinstance(pull, KeptPull):
            # Before anything else is given back: it would come right back on the request that still stands.
            self.given_back += await pull.give_back()
        unfinished = await ending.wait_for(tasks)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=CANCEL_SECONDS)
        if isinstance(pull, KeptPull):
            for message in pull.let_go():
                abandon(message)
