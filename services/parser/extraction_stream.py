"""One document on its way out of the sandbox."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from services.parser import frames
from services.parser.child_process import ChildProcess
from services.parser.errors import EXTRACTION_CODES, ExtractionError
from services.parser.frames import FrameError
from services.parser.jobs import ChunkBatch, ExtractionJob, ExtractionOutcome

Result = TypeVar("Result")

_MAX_MESSAGE_CHARACTERS: Final = 500
# Headings and prefix of a chunk, and the frame around them.
_CHUNK_OVERHEAD_BYTES: Final = 16 << 10
# A batch of one chunk may be larger than a batch should be.
_LARGEST_CHUNK_BYTES: Final = 1 << 20


class ExtractionStream(AsyncIterator[ChunkBatch]):
    """The batches of one document, in order, each as soon as the child has it.

    The child works at most one pipe ahead of the consumer, and the document's wall clock stands still while the
    consumer is busy with a batch.
    """

    def __init__(self, child: ChildProcess, job: ExtractionJob) -> None:
        self._child = child
        self._job = job
        self._seconds_left = job.limits.wall_seconds
        self._bytes_left = job.limits.output_bytes
        self._next_ordinal = 0
        self._outcome: ExtractionOutcome | None = None
        self.finished = False
        self.media_type = ""
        self.title: str | None = None

    @property
    def child_pid(self) -> int:
        """The process that reads the document."""
        return self._child.pid

    @property
    def outcome(self) -> ExtractionOutcome:
        """What the document came to; there is none before the last batch has been read."""
        if self._outcome is None:
            raise RuntimeError("the extraction has no outcome before all its batches have been read")
        return self._outcome

    async def open(self) -> None:
        """Send the document and learn its media type and title."""
        await self._within_time(self._child.send(await _request(self._job), self._job.content))
        message = await self._receive()
        match message:
            case {"type": "opened", "media_type": str() as media_type, "title": str() | None as title}:
                self.media_type, self.title = media_type, title
            case _:
                raise _misbehaved(f"sent {message.get('type')!r} first")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChunkBatch:
        if self.finished:
            raise StopAsyncIteration
        message = await self._receive()
        match message:
            case {"type": "chunks", "chunks": [_, *_] as chunks}:
                return self._batch(chunks)
            case {"type": "done", "chunks": int() as count, "characters": int() as characters} if (
                count == self._next_ordinal
            ):
                self._outcome = ExtractionOutcome(self.media_type, self.title, count, characters)
                self.finished = True
                raise StopAsyncIteration
        raise _misbehaved(f"sent an unexpected {message.get('type')!r}")

    def _batch(self, fields: list[Any]) -> ChunkBatch:
        first = self._next_ordinal
        try:
            chunks = [frames.chunk_from(chunk) for chunk in fields]
        except FrameError as error:
            raise _misbehaved(str(error)) from error
        self._next_ordinal += len(chunks)
        if [chunk.ordinal for chunk in chunks] != list(range(first, self._next_ordinal)):
            raise _misbehaved("sent chunks out of order")
        return ChunkBatch(first, chunks)

    async def _receive(self) -> dict[str, Any]:
        message, size = await self._within_time(self._child.receive(self._max_frame_bytes()))
        self._bytes_left -= size
        if self._bytes_left < 0:
            limit = self._job.limits.output_bytes
            raise ExtractionError("too_large", f"The document has more than {limit} bytes of text. Split it.")
        if message.get("type") == "error":
            raise self._reported(message)
        return message

    def _max_frame_bytes(self) -> int:
        limits = self._job.limits
        return max(limits.batch_bytes, _LARGEST_CHUNK_BYTES) + (limits.batch_chunks + 1) * _CHUNK_OVERHEAD_BYTES

    def _reported(self, message: dict[str, Any]) -> ExtractionError:
        text = message.get("message")
        code = next((code for code in EXTRACTION_CODES if code == message.get("code")), None)
        if code is None or not isinstance(text, str):
            return _misbehaved("reported an unknown error")
        self.finished = message.get("fatal") is False
        return ExtractionError(code, text[:_MAX_MESSAGE_CHARACTERS])

    async def _within_time(self, step: Coroutine[Any, Any, Result]) -> Result:
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            async with asyncio.timeout(max(0.0, self._seconds_left)):
                return await step
        except TimeoutError:
            limit = self._job.limits.wall_seconds
            raise ExtractionError("timeout", f"The document could not be read within {limit:g} seconds.") from None
        except (ConnectionError, asyncio.IncompleteReadError):
            raise await self._child.cause_of_death() from None
        except FrameError as error:
            raise _misbehaved(str(error)) from error
        finally:
            self._seconds_left -= clock() - started


async def _request(job: ExtractionJob) -> dict[str, Any]:
    limits, content = job.limits, job.content
    length = (await asyncio.to_thread(content.stat)).st_size if isinstance(content, Path) else len(content)
    return {
        "type": "job",
        "length": length,
        "media_type": job.media_type,
        "filename": job.filename,
        "title": job.title,
        "cpu_seconds": limits.cpu_seconds,
        "memory_bytes": limits.memory_bytes,
        "batch_chunks": limits.batch_chunks,
        "batch_bytes": limits.batch_bytes,
    }


def _misbehaved(how: str) -> ExtractionError:
    return ExtractionError("crashed", f"The parser broke its protocol on this document: it {how[:200]}.")
