"""Events out of a stream of bytes, wherever it is cut."""

import pytest

from services.agent.event_data import MAX_EVENT_BYTES, EventData, EventTooLong

STREAM = b'data: {"a": 1}\n\n: a comment\nevent: x\ndata:{"b":\r\ndata: 2}\r\n\r\nid: 7\n\ndata: [DONE]\n\ndata: open'
EVENTS = [b'{"a": 1}', b'{"b":\n2}', b"[DONE]"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_wherever_the_stream_is_cut(size: int) -> None:
    events = EventData()
    pieces = [STREAM[place : place + size] for place in range(0, len(STREAM), size)]
    assert [event for piece in pieces for event in events.feed(piece)] == EVENTS


@pytest.mark.parametrize("piece", [b"x" * 2**17, b"data: x\n" * 2**14])
def test_an_event_that_does_not_end_is_not_kept_for_ever(piece: bytes) -> None:
    events = EventData()
    for _ in range(MAX_EVENT_BYTES // len(piece) // 2):
        assert list(events.feed(piece)) == []
    with pytest.raises(EventTooLong):
        list(events.feed(piece * 64))
