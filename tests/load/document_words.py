"""Which of the words that a person sees in a document the parser finds, by format.

    python -m tests.load.document_words --data DIR

DIR holds expected_words.jsonl, one object a line: {"path", "format", "words"}, with paths from DIR. Every file is read
in the sandbox, with the limits of the service. Only what stands in the text of chunks counts as found. A file without a
text layer has no words to miss.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.parser.errors import ExtractionError
from services.parser.jobs import ExtractionJob
from services.parser.sandbox import Sandbox
from tests.unit.parser.small_tokenizer import save_small_tokenizer


@dataclass(frozen=True, slots=True)
class Expected:
    """A file and words that it must hold."""

    path: Path
    format: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a file: the words that are missing, or the code it was refused with."""

    expected: Expected
    missing: tuple[str, ...]
    chunks: int
    seconds: float
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Files of a format taken together."""

    files: int
    whole_files: int
    words: int
    found_words: int
    seconds: float

    @classmethod
    def of(cls, results: Sequence[Found]) -> "Figures":
        """Add the results up; a file is whole when no word of it is missing."""
        words = sum(len(result.expected.words) for result in results)
        missing = sum(len(result.missing) for result in results)
        whole = sum(not result.missing for result in results)
        return cls(len(results), whole, words, words - missing, sum(result.seconds for result in results))

    @property
    def word_share(self) -> float:
        """Found words of all expected ones."""
        return self.found_words / self.words if self.words else 1.0

    @property
    def file_share(self) -> float:
        """Files with all their words of all files."""
        return self.whole_files / self.files if self.files else 1.0


def expected_words(data: Path, formats: Collection[str] | None = None) -> list[Expected]:
    """Return the files of these formats, of all when there are none given."""
    lines = (data / "expected_words.jsonl").read_text(encoding="utf-8").splitlines()
    rows = (json.loads(line) for line in lines)
    return [
        Expected(data / row["path"], row["format"], tuple(row["words"]))
        for row in rows
        if formats is None or row["format"] in formats
    ]


async def read_all(files: Sequence[Expected]) -> list[Found]:
    """Read the files one after the other in one sandbox."""
    with tempfile.TemporaryDirectory() as directory:
        async with Sandbox(save_small_tokenizer(Path(directory))) as sandbox:
            return [await _read(sandbox, file) for file in files]


async def _read(sandbox: Sandbox, file: Expected) -> Found:
    started = time.monotonic()
    try:
        async with sandbox.extract(ExtractionJob(file.path.read_bytes(), filename=file.path.name)) as stream:
            chunks = [chunk async for batch in stream for chunk in batch.chunks]
            seen = "\n".join(chunk.text for chunk in chunks)
    except ExtractionError as error:
        return Found(file, file.words, 0, time.monotonic() - started, error.code)
    missing = tuple(word for word in file.words if word not in seen)
    return Found(file, missing, len(chunks), time.monotonic() - started)


def table(results: Sequence[Found]) -> Iterator[str]:
    """Yield the lines of a table, a format a line, and below it what is missing where."""
    yield f"{'format':8} {'files':>5} {'whole':>5} {'words':>5} {'found':>7} {'seconds':>7}"
    groups: dict[str, list[Found]] = {one.expected.format: [] for one in results}
    for result in results:
        groups[result.expected.format].append(result)
    for name, group in (*groups.items(), ("all", results)):
        one = Figures.of(group)
        counts = f"{one.files:5} {one.whole_files:5} {one.words:5}"
        yield f"{name:8} {counts} {one.word_share:7.1%} {one.seconds:7.2f}"
    for result in results:
        if result.missing or result.code:
            yield f"{result.expected.path.name}: {result.code or 'missing'} {', '.join(result.missing)}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    results = asyncio.run(read_all(expected_words(parser.parse_args().data)))
    sys.stdout.write("\n".join(table(results)) + "\n")


if __name__ == "__main__":
    main()
