"""What mail of every format has: header lines, a body, attachments.

Attachments are read inline, each by the extractor of its own type, under a heading with its file name: whoever deletes
or updates the mail deletes or updates them with it.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from services.parser.document import (
    MAX_HEADING_CHARACTERS,
    Block,
    Extracted,
    Heading,
    Section,
    Source,
    nested,
    one_line,
)
from services.parser.errors import ExtractionError
from services.parser.formats import html, rtf, text

logger = logging.getLogger(__name__)

_MAX_ATTACHMENTS: Final = 100
_MAX_DEPTH: Final = 4
_MAX_HEADER_CHARACTERS: Final = 1_000
_UNNAMED: Final = "attachment"
_PGP_MESSAGE: Final = "-----BEGIN PGP MESSAGE-----"
# A text part that only says "see the HTML part" is shorter than this, and the HTML part far longer.
_STUB_CHARACTERS: Final = 300
_STUB_RATIO: Final = 4


@dataclass(frozen=True, slots=True)
class Body:
    """A part of the message itself; RTF is kept as the Latin-1 reading of its bytes."""

    kind: Literal["plain", "html", "rtf"]
    text: str

    def blocks(self) -> Iterable[Block]:
        """Return what the part says."""
        if self.kind == "rtf":
            return rtf.extract(Source(self.text.encode("latin-1", "replace"), "application/rtf")).blocks
        return html.blocks(self.text) if self.kind == "html" else text.paragraphs(self.text)

    def length(self) -> int:
        """Return the number of characters that a reader sees."""
        return sum(len(block.text.strip()) for block in self.blocks())


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file or message that came along."""

    name: str | None
    open: Callable[[Source], Extracted]

    @property
    def label(self) -> str:
        """The name on one line that fits a heading."""
        return one_line(self.name or "", MAX_HEADING_CHARACTERS) or _UNNAMED


@dataclass(frozen=True, slots=True)
class Letter:
    """A message; `headers` are names and values as a reader knows them."""

    subject: str
    headers: Sequence[tuple[str, str]]
    bodies: Sequence[Body]
    attachments: Sequence[Attachment]


def attached_file(name: str | None, media_type: str | None, load: Callable[[], bytes]) -> Attachment:
    """Return a file to be read by the extractor of its own type; `load` returns its bytes."""

    def read(source: Source) -> Extracted:
        if source.read_inner is None:
            raise ExtractionError("unsupported_type", "Attachments cannot be read here.")
        return source.read_inner(load(), media_type, name)

    return Attachment(name, read)


def attached_letter(name: str | None, make: Callable[[], Letter], depth: int) -> Attachment:
    """Return a message in a message; `depth` counts the messages around it."""

    def read(source: Source) -> Extracted:
        if depth > _MAX_DEPTH:
            raise ExtractionError("too_large", f"Messages in messages are read {_MAX_DEPTH} levels deep.")
        return extracted(make(), source)

    return Attachment(name, read)


def best_body(alternatives: Sequence[Body]) -> Body | None:
    """Choose among the forms of one text: the plain one, unless it is empty or only points to the HTML."""
    plain = next((body for body in alternatives if body.kind == "plain" and body.text.strip()), None)
    rich = next((body for body in alternatives if body.kind == "html" and body.text.strip()), None)
    if plain is None or rich is None:
        return plain or rich
    stub = len(plain.text.strip()) <= _STUB_CHARACTERS and rich.length() > _STUB_RATIO * len(plain.text.strip())
    return rich if stub else plain


def extracted(letter: Letter, source: Source) -> Extracted:
    """Return the message with its attachments; the subject is its title.

    Raises ExtractionError `encrypted`, and while it is read `no_text` when only header lines are left.
    """
    if any(body.text.lstrip().startswith(_PGP_MESSAGE) for body in letter.bodies):
        raise encrypted()
    return Extracted(letter.subject, _blocks(letter, source))


def encrypted() -> ExtractionError:
    """Return the error for a message that only its recipient can open."""
    return ExtractionError("encrypted", "The message is encrypted. Decrypt it in your mail program and send it again.")


def _blocks(letter: Letter, source: Source) -> Iterator[Block]:
    yield Section("\n".join(_header_lines(letter)))
    readable = False
    for body in letter.bodies:
        for block in body.blocks():
            readable = readable or bool(block.text.strip())
            yield block
    for attachment in letter.attachments[:_MAX_ATTACHMENTS]:
        yield Heading(1, attachment.label)
        failure = yield from _attached(attachment, source)
        readable = readable or failure is None
        if failure:
            # The rest of the message is for people who sent the file alone.
            yield Section(f"This attachment was not read ({failure.code}): {failure.message.split('. ')[0]}")
    if len(letter.attachments) > _MAX_ATTACHMENTS:
        yield Section(f"{len(letter.attachments) - _MAX_ATTACHMENTS} more attachments were not read (too_large).")
    if not readable:
        raise ExtractionError("no_text", "The message has no text besides its header lines.")


def _header_lines(letter: Letter) -> Iterator[str]:
    names = ", ".join(attachment.label for attachment in letter.attachments[:_MAX_ATTACHMENTS])
    for name, value in (*letter.headers, ("Attachments", names)):
        if line := one_line(value, _MAX_HEADER_CHARACTERS):
            yield f"{name}: {line}"


def _attached(attachment: Attachment, source: Source) -> Generator[Block, None, ExtractionError | None]:
    """Yield what the attachment says; return why that is not all."""
    empty = True
    try:
        for block in nested(attachment.open(source).blocks, 1):
            empty = empty and not block.text.strip()
            yield block
    except ExtractionError as error:
        return error
    except MemoryError:
        return ExtractionError("out_of_memory", "It needs more memory than one document may use.")
    except Exception as error:
        # Whatever a parser of a foreign format raises, the attachment is at fault, and the message is not.
        logger.warning("attachment_not_read", exc_info=True)
        return ExtractionError("corrupt", f"It is damaged or not what its type says ({type(error).__name__}).")
    return ExtractionError("no_text", "No text was found in it.") if empty else None
