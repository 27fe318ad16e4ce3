"""What the tools take; the descriptions are read by the model that calls them."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from contracts.documents import CollectionName, DocumentId, Metadata, PlainText
from services.gateway.schemas import Filter, Question

MAX_HITS: Final = 50
MAX_ORDINAL: Final = 2**31 - 1
# About 125,000 tokens, more than a model writes in one call; files go to POST /v1/documents.
MAX_TEXT_CHARACTERS: Final = 500_000


class Arguments(BaseModel):
    """The arguments of a tool; one that it does not have is an error, as a misspelt filter must not be none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SearchArguments(Arguments):
    """What to search for."""

    query: Question = Field(description="What to look for, as a question or in key words.")
    collection: CollectionName | None = Field(
        default=None, description="Search this collection only; without it every one."
    )
    top_k: int = Field(default=10, ge=1, le=MAX_HITS, description="How many passages to return at most.")
    filter: Filter | None = Field(
        default=None,
        description='Conditions on the metadata of documents: {"field": value}, {"field": [any, of]}, '
        '{"field": {"gte": 1, "lt": 2}}; several fields must all fit; {"any": [filter, ...]}, {"not": filter}.',
    )


class AskArguments(Arguments):
    """What to answer."""

    question: Question = Field(description="The question, complete in itself unless it goes on with a conversation.")
    collection: CollectionName | None = Field(
        default=None, description="Answer from this collection only; without it from every one."
    )
    conversation_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = Field(
        default=None,
        description="Go on with this conversation; `new` begins one, and the answer names it. Without it nothing is "
        "remembered.",
    )
    mode: Literal["rag", "agent"] = Field(
        default="rag", description="`rag` searches once and answers; `agent` searches in several steps, and is slower."
    )


class DocumentArguments(Arguments):
    """Which document."""

    id: DocumentId = Field(description="Id of the document, as hits and citations name it in `document_id`.")
    with_text: bool = Field(default=True, description="Return the text as well, not only where the document stands.")
    first_chunk: int = Field(
        default=0, ge=0, le=MAX_ORDINAL, description="Read on from this chunk, the `next_chunk` of a result before."
    )


class IngestArguments(Arguments):
    """A text to keep as a document."""

    text: Annotated[PlainText, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)] = Field(
        description="The text, plain or Markdown."
    )
    id: DocumentId | None = Field(
        default=None,
        description="Id of the document. One that exists already is replaced. Without it the id follows from `uri`, "
        "else from the text.",
    )
    title: Annotated[str, Field(max_length=1_024)] | None = Field(default=None, description="Title, shown with hits.")
    collection: CollectionName = Field(default="default", description="Collection that the document belongs to.")
    uri: Annotated[str, Field(min_length=1, max_length=2_048)] | None = Field(
        default=None, description="Where the text comes from."
    )
    metadata: Metadata = Field(
        default_factory=dict,
        description="Flat values that searches can filter by: strings, numbers, booleans, lists of strings.",
    )
    wait_s: float = Field(
        default=10,
        ge=0,
        allow_inf_nan=False,
        description="Seconds to wait until the text can be searched; 0 = return as soon as it is safely stored.",
    )
