"""Why a document could not be read.

Exception
├── ExtractionError      the document's fault: the same bytes fail again
└── SandboxUnavailable   ours: no parser process could be started, the document may be tried again
"""

from typing import Final, Literal, get_args

ExtractionCode = Literal[
    "corrupt",
    "crashed",
    "encrypted",
    "no_text",
    "out_of_memory",
    "timeout",
    "too_large",
    "unsupported_type",
]
EXTRACTION_CODES: Final[tuple[ExtractionCode, ...]] = get_args(ExtractionCode)


class ExtractionError(Exception):
    """A document that cannot be read: `code` is for programs, `message` says what is wrong and what to do."""

    def __init__(self, code: ExtractionCode, message: str) -> None:
        super().__init__(message)
        self.code: ExtractionCode = code
        self.message = message


class SandboxUnavailable(Exception):
    """No sandboxed process could be started; the message says why."""
