"""Messages between the parser and its sandboxed child: four bytes of length, big-endian, then msgpack.

    child  -> parent   {"type": "hello", "isolation": {...}}                          once
    parent -> child    {"type": "job", "length": n, ...}, then n bytes of content     per job
    child  -> parent   {"type": "opened", "media_type", "title"}
                       {"type": "chunks", "chunks": [[ordinal, text, ...], ...]}      as often as needed
                       {"type": "done", "chunks", "characters"}
                  or   {"type": "error", "code", "message", "fatal"}                  at any point of the job

The parent trusts none of it: a document may have taken over the child.
"""

import asyncio
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

import msgpack

from services.parser.document import Chunk

_LENGTH: Final = struct.Struct(">I")


class FrameError(Exception):
    """Bytes that are no message of this protocol."""


def encode(message: Mapping[str, Any]) -> bytes:
    """Return the frame of a message."""
    payload: bytes = msgpack.packb(message)
    return _LENGTH.pack(len(payload)) + payload


def decode(payload: bytes) -> dict[str, Any]:
    """Return the message in a frame's payload; raises FrameError."""
    try:
        message = msgpack.unpackb(payload)
    except ValueError as error:
        raise FrameError(f"not msgpack: {error}") from error
    if not isinstance(message, dict):
        raise FrameError("not a message")
    return message


async def read(stream: asyncio.StreamReader, max_bytes: int) -> tuple[dict[str, Any], int]:
    """Return the next message and its size in bytes; raises FrameError, and IncompleteReadError at the end."""
    (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
    if length > max_bytes:
        raise FrameError(f"a frame of {length} bytes, at most {max_bytes} are allowed")
    return decode(await stream.readexactly(length)), length


def read_blocking(stream: BinaryIO) -> dict[str, Any] | None:
    """Return the next message, or None at the end of the stream."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    return decode(stream.read(*_LENGTH.unpack(header)))


def chunk_fields(chunk: Chunk) -> list[Any]:
    """Return a chunk as it travels."""
    path = list(chunk.heading_path)
    return [chunk.ordinal, chunk.text, path, chunk.page, chunk.char_start, chunk.char_end, chunk.prefix]


def chunk_from(fields: object) -> Chunk:
    """Return the chunk that travelled as `fields`; raises FrameError."""
    match fields:
        case [
            int() as ordinal,
            str() as text,
            list() as path,
            int() | None as page,
            int() as start,
            int() as end,
            str() as prefix,
        ]:
            if all(isinstance(heading, str) for heading in path) and "\0" not in text:
                return Chunk(ordinal, text, tuple(path), page, start, end, prefix)
    raise FrameError("not a chunk")
