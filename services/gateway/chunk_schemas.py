"""Answers about the chunks of a document."""

from pydantic import Field

from contracts.messages import Message


class Chunk(Message):
    """A part of a document's text, verbatim; citations and hits name it by `chunk_id`."""

    chunk_id: str
    ordinal: int
    revision: int
    text: str
    page: int | None
    heading_path: list[str]


class Chunks(Message):
    """Chunks in their order; `next` is the ordinal to go on with, null at the end."""

    items: list[Chunk]
    next: int | None = Field(description="Send it as `first`.")
