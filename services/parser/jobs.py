"""What the service asks of the sandbox and what it gets back."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from services.parser.chunking import ChunkingLimits
from services.parser.document import Chunk


@dataclass(frozen=True, slots=True)
class JobLimits:
    """What one document may cost, and how its chunks are batched.

    `wall_seconds` counts only while the parent waits for the child: a slow consumer does not use up a document's time.
    `memory_bytes` is the child's in all, its own 40 MB included. A batch holds at least one chunk.
    """

    wall_seconds: float = 120.0
    cpu_seconds: float = 90.0
    memory_bytes: int = 1 << 30
    output_bytes: int = 128 << 20
    batch_chunks: int = 64
    batch_bytes: int = 256 << 10


@dataclass(frozen=True, slots=True)
class ExtractionJob:
    """A document to read: its bytes, or the path of a file with them, and what the sender says of it.

    `title`, when given, stands before every chunk in place of the one the document has itself.
    """

    content: bytes | Path
    media_type: str | None = None
    filename: str | None = None
    title: str | None = None
    limits: JobLimits = field(default_factory=JobLimits)


@dataclass(frozen=True, slots=True)
class ChunkBatch:
    """Consecutive chunks; `first_ordinal` is the ordinal of the first."""

    first_ordinal: int
    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True)
class ExtractionOutcome:
    """What is known of a document once it has been read to its end."""

    media_type: str
    title: str | None
    chunks: int
    characters: int


@dataclass(frozen=True, slots=True)
class ChildConfig:
    """What a child is told on its command line; `extra_extractors` adds rows (media type -> "module:function")."""

    parent_pid: int
    tokenizer_path: str
    chunking: ChunkingLimits = field(default_factory=ChunkingLimits)
    extra_extractors: dict[str, str] = field(default_factory=dict)

    def to_argument(self) -> str:
        """Return the configuration as one argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_argument(cls, argument: str) -> "ChildConfig":
        """Read what `to_argument` wrote."""
        values = json.loads(argument)
        return cls(**(values | {"chunking": ChunkingLimits(**values["chunking"])}))
