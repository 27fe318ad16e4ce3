"""Answers as streams of events: of a question that is asked now, and of one whose reader comes back."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final

from contracts import subjects
from contracts.codec import decode
from contracts.queries import AnswerEvent
from services.gateway.answer_feed import AnswerFeed, StoredEvent
from services.gateway.nats_answers import StoredAnswers
from services.gateway.seats import Seats
from shared.errors import DeadlineExpired, NotFound
from shared.messaging.delivery import read_deadline

QUERY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

Events = AsyncGenerator[AnswerEvent | None]
Ask = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """Where a reader goes on in an answer: behind event `sequence`, which is at `position`.

    `deadline` is unix seconds, `collection` the one that was asked for, `trace_id` that of the question.
    """

    query_id: str
    sequence: int
    position: int
    deadline: float
    trace_id: str
    collection: str | None


class AnswerStreams:
    """Streams the events of answers; times in seconds.

    A stream yields None when it begins and whenever a heartbeat is due. It ends after the event that ends the answer,
    and with the process; it raises DeadlineExpired with code `query_timeout` when the answer does not end in time. It
    holds a seat until it is closed, and while it is open it is `counted`, and whoever works on the answer hears that
    somebody listens.
    """

    def __init__(
        self,
        answers: StoredAnswers,
        seats: Seats,
        *,
        timeout_seconds: float,
        heartbeat_seconds: float,
        listening_seconds: float,
        recheck_seconds: float,
        counted: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._counted = counted
        self._answers = answers
        self._seats = seats
        self._timeout_seconds = timeout_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._listening_seconds = listening_seconds
        self._recheck_seconds = recheck_seconds
        self._feeds: set[AnswerFeed] = set()
        self._ended = False

    async def begin(self, query_id: str, ask: Ask) -> Events:
        """Yield the events of a question; the first item is there once `ask` has stored it by its deadline."""
        deadline = time.time() + self._timeout_seconds
        async with self._feed(query_id, is_new=True) as feed:
            await ask(deadline)
            async with aclosing(self._follow(feed, deadline)) as items:
                async for item in items:
                    yield item

    async def resume(self, place: AnswerPlace) -> Events:
        """Yield the events behind a place."""
        async with (
            self._feed(place.query_id, position=place.position) as feed,
            aclosing(self._follow(feed, place.deadline)) as items,
        ):
            async for item in items:
                yield item

    async def find(self, tenant: str, query_id: str, sequence: int) -> AnswerPlace | None:
        """Return the place behind event `sequence` of an answer, 0 for the beginning; None when nothing comes there.

        NotFound when the tenant has no such question, or what follows the event is not kept any more.
        """
        first = await self._answers.first(query_id) if QUERY_ID.fullmatch(query_id) else None
        last = await self._answers.last(query_id) if first is not None else None
        if first is None or last is None:
            raise _unknown(query_id)
        stored, headers = first
        begin, end = decode(AnswerEvent, stored.data), decode(AnswerEvent, last.data)
        if headers.get(subjects.HEADER_TENANT) != tenant or begin.sequence > sequence + 1:
            raise _unknown(query_id)
        if end.terminal and end.sequence <= sequence:
            return None
        return AnswerPlace(
            query_id=query_id,
            sequence=sequence,
            position=await self._position_of(query_id, sequence, stored, last),
            deadline=read_deadline(headers) or time.time() + self._timeout_seconds,
            trace_id=headers.get(subjects.HEADER_CORRELATION_ID, ""),
            collection=begin.data.get("collection"),
        )

    async def end_with(self, shutting_down: asyncio.Event) -> None:
        """End every stream as soon as the process begins to shut down: its reader goes on at another replica."""
        await shutting_down.wait()
        self._ended = True
        for feed in self._feeds:
            feed.end()

    @asynccontextmanager
    async def _feed(self, query_id: str, *, position: int = 0, is_new: bool = False) -> AsyncIterator[AnswerFeed]:
        read = partial(self._answers.next, query_id)
        feed = AnswerFeed(read, position=position, is_new=is_new, recheck_seconds=self._recheck_seconds)
        with self._seats.taken(), self._counted():
            async with self._answers.live(query_id, feed.offer):
                self._feeds.add(feed)
                if self._ended:
                    feed.end()
                try:
                    with self.listening(query_id, at_once=not is_new):
                        yield feed
                finally:
                    self._feeds.discard(feed)

    @contextmanager
    def listening(self, query_id: str, *, at_once: bool = False) -> Iterator[None]:
        """Have whoever works on an answer hear now and then, while the block runs, that somebody waits for it."""

        async def keep_saying() -> None:
            await asyncio.sleep(0 if at_once else self._listening_seconds)
            while True:
                await self._answers.say_listening(query_id)
                await asyncio.sleep(self._listening_seconds)

        saying = asyncio.create_task(keep_saying())
        try:
            yield
        finally:
            saying.cancel()

    async def _follow(self, feed: AnswerFeed, deadline: float) -> Events:
        event = None
        while True:
            yield event
            if feed.ended or (event is not None and event.terminal):
                return
            remaining = deadline - time.time()
            event = await feed.next(min(self._heartbeat_seconds, max(0.0, remaining)))
            if event is None and remaining <= 0:
                raise DeadlineExpired(f"no answer within {self._timeout_seconds:g} s", code="query_timeout")

    async def _position_of(self, query_id: str, sequence: int, first: StoredEvent, last: StoredEvent) -> int:
        """Return the position of an event, by halving: a long answer has hundreds."""
        if sequence < decode(AnswerEvent, first.data).sequence:
            return 0
        if sequence >= decode(AnswerEvent, last.data).sequence:
            return last.position
        low, high = first.position, last.position
        while high - low > 1:
            middle = (low + high) // 2
            found = await self._answers.next(query_id, middle - 1)
            if found is not None and decode(AnswerEvent, found.data).sequence <= sequence:
                low = found.position
            else:
                high = middle
        return low


def _unknown(query_id: str) -> NotFound:
    return NotFound(
        f"there is no question {query_id!r}, or its answer is older than it is kept",
        code="query_not_found",
        field="query_id",
    )
