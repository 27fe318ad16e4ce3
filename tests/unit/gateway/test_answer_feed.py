"""The feed of one reader: each event once and in order, whatever happens to the notices on their way."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import encode
from contracts.queries import AnswerEvent
from services.gateway.answer_feed import MAX_HELD_BYTES, MAX_HELD_EVENTS, AnswerFeed, StoredEvent
from shared.errors import Unavailable

SOON_SECONDS = 0.001
LONG_SECONDS = 1_000.0


@dataclass
class Store:
    """Events of one answer, at every third position; `lag` of them are not to be read yet."""

    events: list[StoredEvent] = field(default_factory=list)
    lag: int = 0
    reads: int = 0
    away: bool = False
    meanwhile: Callable[[], None] = lambda: None

    def add(self, text: str = "x") -> int:
        number = len(self.events) + 1
        event = AnswerEvent(query_id="q1", sequence=number, type="delta", data={"text": text})
        self.events.append(StoredEvent(number * 3, encode(event)))
        return number

    async def read(self, position: int) -> StoredEvent | None:
        self.reads += 1
        if self.away:
            raise Unavailable("the broker does not answer")
        self.meanwhile()
        seen = self.events[: max(0, len(self.events) - self.lag)]
        return next((event for event in seen if event.position > position), None)

    def tell(self, feed: AnswerFeed, number: int) -> None:
        behind = (number - 1) * 3
        feed.offer(behind, self.events[number - 1])


async def drained(feed: AnswerFeed, patience_seconds: float = 0.0) -> list[int]:
    taken = []
    while event := await feed.next(patience_seconds):
        taken.append(event.sequence)
    return taken


STEPS = st.lists(
    st.one_of(
        st.just("store"),
        st.just("take"),
        st.tuples(st.just("tell"), st.integers(0, 40)),
        st.tuples(st.just("lag"), st.integers(0, 3)),
    ),
    max_size=60,
)


@given(steps=STEPS, begin=st.integers(0, 3))
def test_a_reader_sees_each_event_once_and_in_order(steps: Sequence[object], begin: int) -> None:
    """INVARIANT: neither loss, nor repetition, nor disorder of live events reaches the reader."""

    async def run() -> None:
        store, taken = Store(), list[int]()
        for _ in range(begin):
            store.add()
        feed = AnswerFeed(store.read, position=begin * 3, is_new=begin == 0, recheck_seconds=SOON_SECONDS)
        for step in steps:
            if step == "store":
                store.add()
            elif step == "take":
                event = await feed.next(0.0)
                taken += [event.sequence] if event else []
            elif isinstance(step, tuple) and step[0] == "tell" and store.events:
                store.tell(feed, step[1] % len(store.events) + 1)
            elif isinstance(step, tuple) and step[0] == "lag":
                store.lag = step[1]
        store.lag = 0
        taken += await drained(feed, 20 * SOON_SECONDS)
        assert taken == list(range(begin + 1, len(store.events) + 1))

    asyncio.run(run())


async def test_what_comes_in_order_is_not_read_again() -> None:
    store = Store()
    feed = AnswerFeed(store.read, is_new=True, recheck_seconds=LONG_SECONDS)
    for _ in range(20):
        store.tell(feed, store.add())
        assert await feed.next(0.0) is not None
    assert store.reads == 0


async def test_a_gap_is_filled_as_soon_as_the_next_event_shows_it() -> None:
    store = Store()
    feed = AnswerFeed(store.read, is_new=True, recheck_seconds=LONG_SECONDS)
    store.add()
    store.add()
    assert await drained(feed) == []
    store.tell(feed, store.add())
    assert await drained(feed) == [1, 2, 3]


async def test_an_event_that_comes_live_while_it_is_read_comes_once() -> None:
    store = Store()
    feed = AnswerFeed(store.read, recheck_seconds=LONG_SECONDS)
    store.add()
    store.add()

    def tell_both() -> None:
        for number in (1, 2):
            store.tell(feed, number)

    store.meanwhile = tell_both
    assert await drained(feed) == [1, 2]


async def test_a_reader_who_is_behind_has_little_held_for_it() -> None:
    store = Store()
    feed = AnswerFeed(store.read, is_new=True, recheck_seconds=LONG_SECONDS)
    for _ in range(500):
        store.tell(feed, store.add("x" * (MAX_HELD_BYTES // 2)))
    assert sum(len(event.data) for event in feed._held) <= MAX_HELD_EVENTS * MAX_HELD_BYTES
    store.tell(feed, store.add("x" * MAX_HELD_BYTES))
    assert await drained(feed) == list(range(1, 502))


async def test_a_store_that_does_not_answer_is_asked_again() -> None:
    store = Store(away=True)
    feed = AnswerFeed(store.read, is_new=True, recheck_seconds=SOON_SECONDS)
    store.add()
    assert await drained(feed) == []
    store.away = False
    assert await drained(feed, 1.0) == [1]


async def test_a_store_that_lags_is_not_asked_without_end() -> None:
    store = Store(lag=1)
    feed = AnswerFeed(store.read, is_new=True, recheck_seconds=LONG_SECONDS)
    store.add()
    feed.offer(1, store.events[0])
    assert await feed.next(0.3) is None
    assert 2 <= store.reads <= 6


async def test_what_cannot_be_read_is_passed_over() -> None:
    store = Store()
    feed = AnswerFeed(store.read, is_new=True, recheck_seconds=LONG_SECONDS)
    store.events.append(StoredEvent(3, b"not json"))
    store.tell(feed, 1)
    store.tell(feed, store.add())
    assert await drained(feed) == [2]


async def test_the_end_of_the_process_ends_a_wait_at_once() -> None:
    feed = AnswerFeed(Store().read, is_new=True, recheck_seconds=LONG_SECONDS)
    waiting = asyncio.create_task(feed.next(LONG_SECONDS))
    await asyncio.sleep(0)
    feed.end()
    assert await asyncio.wait_for(waiting, timeout=5) is None
    assert feed.ended
