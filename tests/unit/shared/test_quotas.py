"""Room in a tenant's quota, against a queue of documents that is recorded later than it is filled."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Overloaded, Unavailable
from shared.quotas import LENT_SECONDS, MAX_ADDED, Amount, Place, Quota, QuotaExceeded, Quotas, Reading

NO_CERTAINTY_SECONDS = 0.1
SLOW_SECONDS = 0.5


@dataclass
class Queue:
    """What was stored, in order, of which persistence knows the first `recorded`; each look records `pace` more."""

    writes: list[tuple[str, str, int | None]] = field(default_factory=list)
    recorded: int = 0
    pace: int = 0
    away: bool = False
    looks: int = 0

    def store(self, tenant: str, document_id: str, size: int | None) -> Place:
        """Store a document, or with None its delete."""
        self.writes.append((tenant, document_id, size))
        return Place(ingest=len(self.writes))

    def held(self, tenant: str, upto: int | None = None) -> dict[str, int]:
        found: dict[str, int] = {}
        for owner, document_id, size in self.writes[:upto]:
            if owner == tenant and size is None:
                found.pop(document_id, None)
            elif owner == tenant and size is not None:
                found[document_id] = size
        return found

    async def read(self, tenant: str, documents: Sequence[str]) -> Reading:
        self.looks += 1
        if self.away:
            raise Unavailable("persistence is away", away=True)
        last, place = len(self.writes), Place(ingest=self.recorded)
        await asyncio.sleep(0)
        held = self.held(tenant, self.recorded)
        self.recorded = min(len(self.writes), self.recorded + self.pace)
        of = {document_id: held[document_id] for document_id in documents if document_id in held}
        return Reading(Amount(len(held), sum(held.values())), of, place, last)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def quotas(queue: Queue, documents: int | None = None, size_bytes: int | None = None, **options: Any) -> Quotas:
    chosen = {"fresh_seconds": 60, "settle_seconds": 5, "open_when_away": True, **options}
    limited = Quota(documents, size_bytes)
    return Quotas(lambda tenant: Quota() if tenant == "free" else limited, queue.read, **chosen)


async def send(
    kept: Quotas, queue: Queue, sizes: Mapping[str, int], tenant: str = "acme", *, after: int | None = None
) -> None:
    """Add documents as the gateway does: room, then the queue, then what is stored is told."""
    with await kept.take(tenant, sizes, after=after) as room:
        for document_id, size in sizes.items():
            await asyncio.sleep(0)
            room.added(document_id, queue.store(tenant, document_id, size))


async def test_a_tenant_gets_exactly_as_many_documents_as_it_may_have() -> None:
    queue = Queue(pace=100)
    kept = quotas(queue, documents=3)
    for name in ("a", "b", "c"):
        await send(kept, queue, {name: 1})
    with pytest.raises(QuotaExceeded, match="may have 3 documents and has 3; this would add 1") as refused:
        await send(kept, queue, {"d": 1})
    assert (refused.value.error_code, refused.value.limit) == ("quota_exceeded", "documents")
    assert (refused.value.allowed, refused.value.used) == (3, 3)
    assert len(queue.held("acme")) == 3


async def test_a_tenant_gets_exactly_as_many_bytes_as_it_may_have() -> None:
    queue = Queue(pace=100)
    kept = quotas(queue, size_bytes=100)
    await send(kept, queue, {"a": 60})
    with pytest.raises(QuotaExceeded, match="may have 100 bytes of documents and has 60; this would add 41"):
        await send(kept, queue, {"b": 41})
    await send(kept, queue, {"b": 40})


async def test_a_request_fits_as_a_whole_or_not_at_all() -> None:
    queue = Queue(pace=100)
    kept = quotas(queue, documents=3)
    with pytest.raises(QuotaExceeded):
        await send(kept, queue, {"a": 1, "b": 1, "c": 1, "d": 1})
    assert queue.writes == []


async def test_an_update_counts_what_it_adds() -> None:
    queue = Queue(pace=100)
    kept = quotas(queue, documents=1, size_bytes=100)
    await send(kept, queue, {"a": 90})
    await send(kept, queue, {"a": 100})
    with pytest.raises(QuotaExceeded, match="this would add 1"):
        await send(kept, queue, {"a": 101})


async def test_who_is_over_a_quota_may_still_send_what_is_no_more_than_before() -> None:
    queue = Queue([("acme", name, 50) for name in ("a", "b", "c")], recorded=3, pace=100)
    kept = quotas(queue, documents=1, size_bytes=10)
    await send(kept, queue, {"a": 50})
    await send(kept, queue, {"b": 20})
    with pytest.raises(QuotaExceeded):
        await send(kept, queue, {"c": 51})


async def test_who_has_no_quota_and_who_is_far_from_it_ask_nobody() -> None:
    queue = Queue()
    kept = quotas(queue, documents=1_000)
    await send(kept, queue, {"a": 1}, tenant="free")
    assert queue.looks == 0
    for number in range(50):
        await send(kept, queue, {f"d{number}": 1})
    assert queue.looks == 1


async def test_what_others_added_is_known_after_a_while() -> None:
    queue, clock = Queue(pace=100), Clock()
    kept = quotas(queue, documents=10, fresh_seconds=5, clock=clock)
    await send(kept, queue, {"a": 1})
    for number in range(9):
        queue.store("acme", f"other{number}", 1)
    queue.recorded = len(queue.writes)
    clock.now += 6
    with pytest.raises(QuotaExceeded):
        await send(kept, queue, {"b": 1})


async def test_a_burst_gets_no_more_than_there_is_room_for() -> None:
    """INVARIANT: one process never lets in too much. Counting only what is recorded, or forgetting what is on its way
    while somebody looks, would let the burst through.
    """
    queue = Queue(pace=3)
    kept = quotas(queue, documents=10)
    sent = [send(kept, queue, {f"d{number}": 1}) for number in range(60)]
    ended = await asyncio.gather(*sent, return_exceptions=True)
    assert [type(error) for error in ended if error is not None] == [QuotaExceeded] * 50
    assert len(queue.held("acme")) == 10


async def test_two_processes_let_in_what_each_of_them_has_room_for_and_then_no_more() -> None:
    queue, clock = Queue(pace=100), Clock()
    both = [quotas(queue, documents=10, fresh_seconds=5, clock=clock) for _ in range(2)]
    for number, kept in enumerate(both):
        await send(kept, queue, {f"first{number}": 1})
        queue.recorded = len(queue.writes)
    room_at_first = 10
    for number, kept in enumerate(both):
        with contextlib.suppress(QuotaExceeded):
            for each in range(room_at_first):
                await send(kept, queue, {f"more{number}-{each}": 1})
    # Each knows of the other what it read at first: together they are over by less than the room there was then.
    assert len(queue.held("acme")) == 10 + room_at_first - 1
    clock.now += 6
    for kept in both:
        with pytest.raises(QuotaExceeded):
            await send(kept, queue, {"z": 1})


async def test_a_delete_frees_at_once() -> None:
    """INVARIANT: what was deleted before is not held against anybody, though it is not recorded when they ask."""
    queue = Queue(pace=1)
    kept = quotas(queue, documents=2)
    await send(kept, queue, {"a": 1, "b": 1})
    queue.store("acme", "a", None)
    await send(kept, queue, {"c": 1})
    assert set(queue.held("acme")) == {"b", "c"}


async def test_nothing_is_refused_before_it_is_certain() -> None:
    queue = Queue([("acme", "a", 1), ("acme", "a", None)], recorded=1)
    kept = quotas(queue, documents=1, settle_seconds=NO_CERTAINTY_SECONDS)
    with pytest.raises(Overloaded, match="quota of documents") as pending:
        await send(kept, queue, {"b": 1})
    assert pending.value.error_code == "quota_pending"
    queue.recorded = 2
    await send(kept, queue, {"b": 1})


async def test_who_knows_its_place_waits_for_nothing_behind_it() -> None:
    """The parser works on one message: what came later, and is not recorded yet, may not keep it from being refused."""
    queue = Queue([("acme", "a", 1), ("acme", "b", 1), ("acme", "a", None)], recorded=1)
    kept = quotas(queue, documents=1, settle_seconds=NO_CERTAINTY_SECONDS)
    with pytest.raises(QuotaExceeded):
        await kept.take("acme", {"b": 1}, after=2)


async def test_what_was_not_stored_after_all_is_free_again() -> None:
    queue = Queue(pace=100)
    kept = quotas(queue, documents=1)
    with pytest.raises(ZeroDivisionError), await kept.take("acme", {"a": 1}):
        raise ZeroDivisionError
    await send(kept, queue, {"b": 1})


async def test_another_tenant_is_not_held_up() -> None:
    queue = Queue(pace=100)
    kept = quotas(queue, documents=1)
    await send(kept, queue, {"a": 1})
    with pytest.raises(QuotaExceeded):
        await send(kept, queue, {"b": 1})
    await send(kept, queue, {"a": 1}, tenant="other")


async def test_documents_get_in_while_nobody_can_tell_and_count_once_somebody_can() -> None:
    queue, clock = Queue(away=True), Clock()
    kept = quotas(queue, documents=2, fresh_seconds=5, clock=clock)
    for name in ("a", "b", "c"):
        await send(kept, queue, {name: 1})
    assert queue.looks == 1, "who was away is not asked again at once"
    queue.away, queue.pace = False, 100
    clock.now += 6
    with pytest.raises(QuotaExceeded, match="has 3"):
        await send(kept, queue, {"d": 1})


async def test_where_documents_can_wait_they_do_while_nobody_can_tell() -> None:
    queue = Queue(away=True)
    kept = quotas(queue, documents=2, open_when_away=False)
    with pytest.raises(Unavailable) as waiting:
        await send(kept, queue, {"a": 1})
    assert waiting.value.away


async def test_what_is_remembered_is_bounded() -> None:
    queue = Queue()
    kept = quotas(queue, documents=10 * MAX_ADDED)
    for number in range(MAX_ADDED + 2):
        await send(kept, queue, {f"d{number}": 1})
    account = kept._accounts["acme"]
    assert account.used.documents == MAX_ADDED + 2
    assert len(account.added) <= MAX_ADDED


async def test_who_goes_on_sending_without_room_is_looked_at_seldom() -> None:
    """Adding up takes time: a tenant at its quota may not take all of it by asking again and again."""
    queue, clock = Queue(pace=100), Clock()
    looked_at: list[float] = []

    async def slow(tenant: str, documents: Sequence[str]) -> Reading:
        looked_at.append(clock.now)
        clock.now += SLOW_SECONDS
        return await queue.read(tenant, documents)

    async def pass_time(seconds: float) -> None:
        clock.now += seconds

    limits = Quota(documents=0)
    kept = Quotas(
        lambda _tenant: limits,
        slow,
        fresh_seconds=60,
        settle_seconds=5,
        open_when_away=True,
        rest=4,
        clock=clock,
        sleep=pass_time,
    )
    for _ in range(10):
        with pytest.raises(QuotaExceeded):
            await send(kept, queue, {"a": 1})
    pauses = [later - earlier for earlier, later in pairwise(looked_at)]
    lent = int(LENT_SECONDS / (4 * SLOW_SECONDS))
    assert pauses[:lent] == [pytest.approx(SLOW_SECONDS)] * lent, "a few at once wait for nothing"
    assert pauses[-3:] == [pytest.approx(4 * SLOW_SECONDS)] * 3
    clock.now += 60
    began = clock.now
    with pytest.raises(QuotaExceeded):
        await send(kept, queue, {"a": 1})
    assert clock.now - began == pytest.approx(SLOW_SECONDS), "who comes back later waits for nothing"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from("abcdefgh"), st.integers(1, 40)),
        st.tuples(st.just("fail"), st.sampled_from("abcdefgh"), st.integers(1, 40)),
        st.tuples(st.just("delete"), st.sampled_from("abcdefgh"), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 10)),
        st.tuples(st.just("record"), st.just(""), st.integers(1, 5)),
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_whatever_happens_there_is_never_too_much_and_nobody_is_refused_who_fits(
    steps: list[tuple[str, str, int]],
) -> None:
    asyncio.run(_live(steps))


async def _live(steps: list[tuple[str, str, int]]) -> None:
    documents, size_bytes = 4, 100
    queue, clock = Queue(pace=50), Clock()
    kept = quotas(queue, documents, size_bytes, fresh_seconds=5, clock=clock)
    for kind, name, number in steps:
        held = queue.held("acme")
        if kind == "wait":
            clock.now += number
        elif kind == "record":
            queue.recorded = min(len(queue.writes), queue.recorded + number)
        elif kind == "delete":
            queue.store("acme", name, None)
        elif kind == "fail":
            with contextlib.suppress(QuotaExceeded), await kept.take("acme", {name: number}):
                pass
        else:
            after = {**held, name: number}
            fits = len(after) <= documents and sum(after.values()) <= size_bytes
            try:
                await send(kept, queue, {name: number})
            except QuotaExceeded:
                assert not fits, (held, name, number)
            held = queue.held("acme")
            assert len(held) <= documents
            assert sum(held.values()) <= size_bytes
