"""The ingestion message: what any producer publishes on `rag.v1.ingest.<tenant>`."""

import base64
import binascii
import hashlib
import math
import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from contracts.messages import Message
from contracts.subjects import DEAD_OBJECT_PREFIX

DEFAULT_COLLECTION: Final = "default"
COLLECTION_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
OBJECT_NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,255}$"
MEDIA_TYPE_PATTERN: Final = r"^[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}(\s*;.*)?$"
MAX_DOCUMENT_ID_CHARACTERS: Final = 256
MAX_METADATA_FIELDS: Final = 64
MAX_METADATA_TEXT_CHARACTERS: Final = 4_096
MAX_METADATA_LIST_ITEMS: Final = 64
MAX_METADATA_TOTAL_CHARACTERS: Final = 16_384
MAX_METADATA_INTEGER: Final = 2**63 - 1

# The validation context that says whether documents may be fetched.
FETCH_URLS: Final = "fetch_urls"

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_METADATA_NAME: Final = re.compile(r"^[^\x00-\x1f\x7f.\[\]\"\ud800-\udfff]{1,128}$")
_LONE_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def _printable(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must not hold control characters")
    return value


def _encodable(value: str) -> str:
    if _LONE_SURROGATE.search(value):
        raise ValueError("holds a lone surrogate, which no UTF-8 text can")
    return value


def _upload(value: str) -> str:
    """Refuse what lies in the same bucket but is no upload: the payloads of dead letters, which any tenant's may be."""
    if value.startswith(DEAD_OBJECT_PREFIX):
        raise ValueError(f"must be an upload; what begins with {DEAD_OBJECT_PREFIX} is none")
    return value


DocumentId = Annotated[str, Field(min_length=1, max_length=MAX_DOCUMENT_ID_CHARACTERS), AfterValidator(_printable)]
CollectionName = Annotated[str, Field(pattern=COLLECTION_PATTERN)]
PrintableText = Annotated[str, AfterValidator(_printable)]
PlainText = Annotated[str, AfterValidator(_encodable)]


def _flat(value: Any) -> Any:
    """Say in one sentence what a union of types would say in five."""
    items = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        raise ValueError("a list may hold strings only")
    if not isinstance(value, str | int | float | bool | list):
        raise ValueError("must be a string, a number, a boolean or a list of strings")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if isinstance(value, int) and abs(value) > MAX_METADATA_INTEGER:
        raise ValueError("must fit a signed 64-bit integer")
    if len(items) > MAX_METADATA_LIST_ITEMS:
        raise ValueError(f"a list may hold at most {MAX_METADATA_LIST_ITEMS} strings")
    if any(isinstance(item, str) and len(item) > MAX_METADATA_TEXT_CHARACTERS for item in items):
        raise ValueError(f"a string may have at most {MAX_METADATA_TEXT_CHARACTERS} characters")
    for item in items:
        if isinstance(item, str):
            _encodable(item)
    return value


MetadataValue = Annotated[StrictBool | StrictInt | StrictFloat | str | list[str], BeforeValidator(_flat)]
Metadata = dict[str, MetadataValue]


def _base64(value: Any) -> Any:
    """Refuse what Python's own decoder would silently skip over."""
    if not isinstance(value, str):
        return value
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"is not valid base64: {error}") from None
    return value


def _size_of(value: MetadataValue) -> int:
    if isinstance(value, list):
        return sum(map(len, value))
    return len(value) if isinstance(value, str) else 8


class DocumentInput(Message):
    """A document as a producer describes it: exactly one of `text`, `content`, `object`.

    Where fetching is on, none of them and an https `uri` stand for what is found there.
    """

    id: DocumentId | None = None
    collection: CollectionName = DEFAULT_COLLECTION
    title: Annotated[str, Field(max_length=1_024), AfterValidator(_encodable)] | None = None
    uri: Annotated[str, Field(min_length=1, max_length=2_048), AfterValidator(_printable)] | None = None
    text: PlainText | None = None
    content: Annotated[str, BeforeValidator(_base64), Field(description="base64")] | None = None
    object: Annotated[str, Field(pattern=OBJECT_NAME_PATTERN), AfterValidator(_upload)] | None = None
    media_type: Annotated[str, Field(pattern=MEDIA_TYPE_PATTERN, max_length=255)] | None = None
    filename: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_printable)] | None = None
    metadata: Metadata = Field(default_factory=dict)

    @field_validator("metadata")
    @classmethod
    def _bounded_metadata(cls, value: Metadata) -> Metadata:
        if len(value) > MAX_METADATA_FIELDS:
            raise ValueError(f"has {len(value)} fields; at most {MAX_METADATA_FIELDS} are allowed")
        for name in value:
            if not _METADATA_NAME.match(name):
                raise ValueError(
                    f'field name {name[:64]!r} must be 1-128 characters without control characters . [ ] "'
                )
        if sum(len(name) + _size_of(item) for name, item in value.items()) > MAX_METADATA_TOTAL_CHARACTERS:
            raise ValueError(f"is larger than {MAX_METADATA_TOTAL_CHARACTERS} characters in all")
        return value

    @property
    def content_fields(self) -> list[str]:
        """Return the names of the content fields that are given."""
        return [name for name in ("text", "content", "object") if getattr(self, name) is not None]

    @property
    def is_fetched(self) -> bool:
        """Tell whether the content is what is found at `uri`."""
        return not self.content_fields and self.uri is not None and self.uri.lower().startswith("https://")

    @property
    def inline_bytes(self) -> int | None:
        """Return the size of the content that the message itself holds, decoded; None when it holds none."""
        if self.content is not None:
            return len(self.content) // 4 * 3 - self.content[-2:].count("=")
        return len(self.text.encode()) if self.text is not None else None

    def derived_id(self) -> str:
        """Return the document's id: its own, else one derived from `uri`, else from the content.

        The same document published again without an id therefore updates itself instead of standing there twice.
        """
        if self.id is not None:
            return self.id
        if self.uri is not None:
            return "uri-" + hashlib.sha256(self.uri.encode()).hexdigest()[:32]
        return "sha-" + hashlib.sha256(self._identifying_bytes()).hexdigest()[:32]

    def _identifying_bytes(self) -> bytes:
        if self.content is not None:
            return base64.b64decode(self.content)
        return (self.text if self.text is not None else self.object or "").encode()


def _check_content(document: DocumentInput) -> None:
    given = document.content_fields
    if len(given) != 1:
        found = " and ".join(given) if given else "none of them"
        raise ValueError(f"exactly one of text, content, object must be given, found {found}")
    if document.content is not None and document.media_type is None and document.filename is None:
        raise ValueError("content needs a media_type or a filename that tells what it is")


def _check_collection(message: DocumentInput) -> None:
    """Nobody shall lose a collection by leaving something out."""
    if "collection" not in message.model_fields_set:
        raise ValueError("a delete_collection must name its collection")
    if message.id is not None or message.uri is not None:
        raise ValueError("a delete_collection deletes every document; to delete one of them use delete")


class UpsertInput(DocumentInput):
    """A document to index, as the HTTP API takes it; the context `fetch_urls` allows that its content is fetched."""

    @model_validator(mode="after")
    def _one_content(self, info: ValidationInfo) -> Self:
        if not self.is_fetched:
            _check_content(self)
        elif not (info.context and info.context.get(FETCH_URLS)):
            raise ValueError(
                "exactly one of text, content, object must be given, found none of them: "
                "nothing is fetched from its uri here (RAG_FETCH_URLS=off)"
            )
        return self


class IngestMessage(DocumentInput):
    """A message on the ingestion subject: an upsert with its content, a delete with its id, or that of a collection."""

    op: Literal["upsert", "delete", "delete_collection"] = "upsert"

    @model_validator(mode="after")
    def _fits_operation(self) -> Self:
        if self.op == "upsert":
            # Whether anything is fetched is a setting, which only the parser knows.
            if not self.is_fetched:
                _check_content(self)
        elif self.op == "delete_collection":
            _check_collection(self)
        elif self.id is None and self.uri is None:
            raise ValueError("a delete must carry the id or the uri of the document")
        return self
