"""A question that is delivered again goes on where its caller is; two deliveries never tell one caller two stories."""

from typing import Any

import pytest

from contracts.queries import AnswerEvent
from services.agent.events import AnswerEvents, Told
from shared.errors import TakenOver
from tests.unit.agent.library import StoredAt, Streams, question_of

QUESTION = question_of("Why?")


async def events_after(streams: Streams) -> AnswerEvents:
    return AnswerEvents(streams.publish, QUESTION, {}, await streams.recall("q1"))


async def tell(events: AnswerEvents, *pieces: str) -> None:
    await events.send("accepted")
    for piece in pieces:
        await events.send_text(piece)


def read(events: list[AnswerEvent]) -> str:
    return Told(tuple(events)).text


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (["It is"], ["It", " is so", "."], ["accepted", "delta", "delta", "delta"]),
        (["It is"], ["It is"], ["accepted", "delta"]),
        (["It is"], ["It was", " so."], ["accepted", "delta", "step", "delta", "delta"]),
        (["It is so"], ["It is"], ["accepted", "delta", "step", "delta"]),
        ([], ["It is"], ["accepted", "delta"]),
    ],
)
async def test_the_text_that_counts_is_the_last_one(before: list[str], after: list[str], kinds: list[str]) -> None:
    streams = Streams()
    await tell(await events_after(streams), *before)
    again = await events_after(streams)
    await tell(again, *after)
    await again.end_text()
    told = streams.events()
    assert read(told) == "".join(after)
    assert [event.type for event in told] == kinds
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))


async def test_the_delivery_that_fell_behind_stops() -> None:
    """INVARIANT: effects happen once: a process that was frozen does not write into another one's answer."""
    streams = Streams()
    frozen = await events_after(streams)
    await tell(frozen, "It is")
    other = await events_after(streams)
    await tell(other, "It was")
    before = streams.events()
    with pytest.raises(TakenOver):
        await frozen.send_text(" so")
    assert streams.events() == before


async def test_an_event_whose_acknowledgement_was_lost_is_told_once() -> None:
    streams = Streams()
    publish, calls = streams.publish, 0

    async def twice(*arguments: Any, **fields: Any) -> StoredAt:
        nonlocal calls
        calls += 1
        await publish(*arguments, **fields)
        return await publish(*arguments, **fields)

    await tell(AnswerEvents(twice, QUESTION, {}), "It is")
    assert calls == 2
    assert [event.type for event in streams.events()] == ["accepted", "delta"]
