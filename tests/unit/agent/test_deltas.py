"""Text reaches its reader at once and then in portions, whole and in order."""

import asyncio

import pytest

from services.agent.deltas import Deltas
from services.agent.no_answer import NoAnswerGate

LONG_SECONDS = 30.0


async def test_the_first_piece_goes_at_once_and_the_rest_on_leaving() -> None:
    sent: list[str] = []
    first = asyncio.Event()

    async def send(text: str) -> None:
        sent.append(text)
        first.set()

    async with asyncio.timeout(5), Deltas(send, interval_seconds=LONG_SECONDS) as deltas:
        deltas.add("one")
        await first.wait()
        for piece in (" two", "", " three"):
            deltas.add(piece)
    assert sent == ["one", " two three"]


async def test_a_pause_of_the_writer_holds_nothing_back() -> None:
    sent: list[str] = []
    both = asyncio.Event()

    async def send(text: str) -> None:
        sent.append(text)
        if "".join(sent) == "one two":
            both.set()

    async with asyncio.timeout(5), Deltas(send, interval_seconds=0.01) as deltas:
        deltas.add("one")
        deltas.add(" two")
        await both.wait()


async def test_what_sending_raises_reaches_the_writer() -> None:
    async def send(_text: str) -> None:
        raise ConnectionError("gone")

    async def write() -> None:
        async with Deltas(send, interval_seconds=LONG_SECONDS) as deltas:
            deltas.add("one")

    with pytest.raises(ConnectionError):
        await write()


async def test_a_text_that_breaks_off_is_sent_before_its_end_is_told() -> None:
    sent: list[str] = []

    async def send(text: str) -> None:
        await asyncio.sleep(0)
        sent.append(text)

    async def write() -> None:
        async with Deltas(send, interval_seconds=LONG_SECONDS) as deltas:
            deltas.add("one")
            await asyncio.sleep(0)
            deltas.add(" two")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await asyncio.wait_for(write(), 5)
    assert "".join(sent) == "one two"


async def test_a_writer_that_is_cancelled_sends_no_more() -> None:
    started = asyncio.Event()

    async def send(_text: str) -> None:
        started.set()
        await asyncio.Event().wait()

    async def write() -> None:
        async with Deltas(send, interval_seconds=0) as deltas:
            deltas.add("one")
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


@pytest.mark.parametrize("text", ["NO_ANSWER", " NO_ANSWER.", "**NO_ANSWER**", '"NO_ANSWER" because', "\nNO_ANSWER"])
def test_the_sign_for_no_answer_is_never_shown(text: str) -> None:
    gate = NoAnswerGate()
    assert "".join(map(gate.feed, text)) + gate.end() == ""
    assert gate.no_answer


@pytest.mark.parametrize("text", ["No, it does not.", "NO_ONE knows.", "N", "The sign NO_ANSWER is a sign."])
def test_any_other_text_is_shown_whole(text: str) -> None:
    gate = NoAnswerGate()
    assert "".join(map(gate.feed, text)) + gate.end() == text
    assert not gate.no_answer
