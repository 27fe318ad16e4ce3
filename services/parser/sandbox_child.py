"""The sandboxed process that reads documents, one after the other, until its standard input ends.

It holds nothing worth stealing: no environment, no network, no files but the interpreter's, no other process.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from services.parser import frames
from services.parser.chunking import Chunker
from services.parser.document import MAX_TITLE_CHARACTERS, Chunk, one_line
from services.parser.errors import ExtractionError
from services.parser.extraction import EXTRACTORS, load_extractor, open_document
from services.parser.isolation import isolate, limit_job
from services.parser.jobs import ChildConfig
from services.parser.token_counting import TokenCounter

_SERVICES: Final = Path(__file__).resolve().parents[1]
_SYSTEM_LIBRARIES: Final = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/dev/urandom",
)
_MISSING_MEMORY: Final = "The document needs more memory than one document may use. Split it, or raise the limit."


def main(argument: str) -> None:
    """Serve jobs; ends when the parent closes the pipe."""
    config = ChildConfig.from_argument(argument)
    requests, replies = sys.stdin.buffer, _take_standard_output()
    extractors = {**EXTRACTORS, **config.extra_extractors}
    for target in config.extra_extractors.values():
        load_extractor(target)
    isolation = isolate(config.parent_pid, _readable_paths(config))
    chunker = Chunker(TokenCounter.from_file(config.tokenizer_path), config.chunking)
    _send(replies, {"type": "hello", "isolation": isolation})
    while job := frames.read_blocking(requests):
        _serve(job, requests.read(job["length"]), chunker, extractors, replies)


def _take_standard_output() -> BinaryIO:
    """Keep the pipe for frames; what a library prints goes to standard error."""
    pipe = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(pipe, "wb", buffering=0)


def _readable_paths(config: ChildConfig) -> Iterator[Path]:
    installed = (sys.prefix, sys.base_prefix, *(path for path in sys.path if path.endswith("-packages")))
    yield from map(Path, (*installed, *_SYSTEM_LIBRARIES, config.tokenizer_path))
    yield _SERVICES


def _serve(
    job: dict[str, Any], content: bytes, chunker: Chunker, extractors: dict[str, str], replies: BinaryIO
) -> None:
    try:
        limit_job(job["cpu_seconds"], job["memory_bytes"])
        _extract(job, content, chunker, extractors, replies)
    except ExtractionError as error:
        _send(replies, {"type": "error", "code": error.code, "message": error.message, "fatal": False})
    except MemoryError:
        _send(replies, {"type": "error", "code": "out_of_memory", "message": _MISSING_MEMORY, "fatal": True})
    except Exception as error:
        # Whatever a parser of a foreign format raises, the document is at fault and the process no longer trusted.
        traceback.print_exc()
        message = f"The document is damaged or not what its type says ({type(error).__name__})."
        _send(replies, {"type": "error", "code": "corrupt", "message": message, "fatal": True})


def _extract(
    job: dict[str, Any], content: bytes, chunker: Chunker, extractors: dict[str, str], replies: BinaryIO
) -> None:
    document = open_document(content, job["media_type"], job["filename"], extractors)
    _send(replies, {"type": "opened", "media_type": document.media_type, "title": document.title})
    count = characters = 0
    given_title = one_line(job["title"] or "", MAX_TITLE_CHARACTERS)
    chunks = chunker.chunks(given_title or document.title, document.sections)
    for batch in _batches(chunks, job["batch_chunks"], job["batch_bytes"]):
        _send(replies, {"type": "chunks", "chunks": [frames.chunk_fields(chunk) for chunk in batch]})
        count += len(batch)
        characters = batch[-1].char_end
    if not count:
        raise ExtractionError("no_text", "No text was found in the document.")
    _send(replies, {"type": "done", "chunks": count, "characters": characters})


def _batches(chunks: Iterator[Chunk], max_chunks: int, max_bytes: int) -> Iterator[list[Chunk]]:
    batch: list[Chunk] = []
    size = 0
    for chunk in chunks:
        chunk_bytes = len(chunk.text.encode())
        if batch and (len(batch) == max_chunks or size + chunk_bytes > max_bytes):
            yield batch
            batch, size = [], 0
        batch.append(chunk)
        size += chunk_bytes
    if batch:
        yield batch


def _send(replies: BinaryIO, message: dict[str, Any]) -> None:
    unsent = memoryview(frames.encode(message))
    while unsent:
        unsent = unsent[replies.write(unsent) :]


if __name__ == "__main__":
    main(sys.argv[1])
