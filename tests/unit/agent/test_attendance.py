"""Work that somebody listens to goes on; work that nobody listens to ends, and its caller can still read how."""

import asyncio
from collections.abc import Mapping

import pytest

from contracts.messages import Message
from services.agent.attendance import Attendance
from services.agent.events import AnswerEvents
from shared.errors import DeadlineExpired
from tests.unit.agent.library import StoredAt, Streams, question_of

ATTENDED = question_of("When?", attended=True)
PATIENCE_SECONDS = 0.05
LONG_SECONDS = 30.0


async def work_under(attendance: Attendance, seconds: float, **fields: object) -> None:
    async with asyncio.timeout(LONG_SECONDS / 3), attendance.of(question_of("When?", **fields)):
        await asyncio.sleep(seconds)


async def test_work_without_a_listener_is_cancelled() -> None:
    with pytest.raises(DeadlineExpired) as raised:
        await work_under(Attendance(seconds=PATIENCE_SECONDS), LONG_SECONDS, attended=True)
    assert raised.value.error_code == "query_cancelled"


async def test_work_for_a_caller_who_waits_for_the_whole_answer_is_not_cancelled() -> None:
    await work_under(Attendance(seconds=PATIENCE_SECONDS), 4 * PATIENCE_SECONDS)


async def test_a_listener_keeps_the_work_alive_and_another_ones_does_not() -> None:
    attendance = Attendance(seconds=4 * PATIENCE_SECONDS)
    heard = asyncio.create_task(work_under(attendance, 16 * PATIENCE_SECONDS, attended=True, query_id="heard"))
    other = asyncio.create_task(work_under(attendance, 16 * PATIENCE_SECONDS, attended=True, query_id="other"))
    while not heard.done():
        attendance.heard("heard")
        await asyncio.sleep(PATIENCE_SECONDS)
    await heard
    with pytest.raises(DeadlineExpired):
        await other
    attendance.heard("heard")
    assert not attendance._bounds, "nothing is kept of work that has ended"


async def test_a_timeout_of_the_work_itself_stays_one() -> None:
    with pytest.raises(TimeoutError):
        async with Attendance(seconds=LONG_SECONDS).of(ATTENDED):
            raise TimeoutError


async def test_an_event_whose_sender_was_cut_off_stands_before_the_next() -> None:
    """INVARIANT: what ends an answer reaches its caller. An end that overtook a half-sent event would be refused."""
    streams, release = Streams(), asyncio.Event()

    async def slow(
        subject: str, message: Message, *, tenant: str, message_id: str, headers: Mapping[str, str] | None = None
    ) -> StoredAt:
        await release.wait()
        return await streams.publish(subject, message, tenant=tenant, message_id=message_id, headers=headers)

    events = AnswerEvents(slow, ATTENDED, {})
    sending = asyncio.create_task(events.send("delta", {"text": "half"}))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    ending = asyncio.create_task(events.send("error", {"code": "query_cancelled"}))
    await asyncio.sleep(0)
    release.set()
    await ending
    assert [(event.sequence, event.type) for event in streams.events()] == [(1, "delta"), (2, "error")]


async def test_an_event_that_could_not_be_stored_leaves_no_gap() -> None:
    streams = Streams()
    events = AnswerEvents(streams.publish, ATTENDED, {})
    streams.failure = RuntimeError("the broker is away")
    with pytest.raises(RuntimeError):
        await events.send("delta", {"text": "lost"})
    streams.failure = None
    await events.send("error", {"code": "internal_error"})
    assert [event.sequence for event in streams.events()] == [1]
