import asyncio
import io
import struct
from typing import Any

import msgpack
import pytest

from services.parser import frames
from services.parser.document import Chunk

MESSAGE = {"type": "opened", "media_type": "text/plain", "title": None}
CHUNK = Chunk(3, "text", ("A", "B"), None, 10, 14, "A > B\n\n")


async def received(data: bytes, max_bytes: int = 1_000) -> tuple[dict[str, Any], int]:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return await frames.read(stream, max_bytes)


async def test_a_message_arrives_as_it_was_sent() -> None:
    frame = frames.encode(MESSAGE)
    assert await received(frame) == (MESSAGE, len(frame) - 4)
    assert frames.read_blocking(io.BytesIO(frame)) == MESSAGE
    assert frames.read_blocking(io.BytesIO()) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgpack.packb([1]),
        msgpack.packb(MESSAGE) + b"x",
        b"\x91" * 5_000,
        b"\xa2\xff\xff",
        b"\x81\x90\x01",
    ],
    ids=["empty", "reserved", "list", "trailing", "nested", "not UTF-8", "list as key"],
)
def test_garbage_is_refused(payload: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.decode(payload)


async def test_a_frame_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(frames.FrameError, match="4294967295 bytes"):
        await received(struct.pack(">I", 2**32 - 1))


async def test_a_stream_that_ends_in_a_frame_is_noticed() -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        await received(frames.encode(MESSAGE)[:-1])


def test_a_chunk_travels_unchanged() -> None:
    packed = msgpack.packb(frames.chunk_fields(CHUNK))
    assert frames.chunk_from(msgpack.unpackb(packed)) == CHUNK


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        [3, "text"],
        [3, b"text", [], None, 0, 4, ""],
        [3, "nul\0", [], None, 0, 4, ""],
        [3, "t", [1], None, 0, 1, ""],
    ],
)
def test_what_is_no_chunk_is_refused(fields: object) -> None:
    with pytest.raises(frames.FrameError):
        frames.chunk_from(fields)
