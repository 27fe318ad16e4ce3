"""What an ingestion message means for its document, be the message valid or not."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from contracts import subjects
from contracts.codec import DecodeError, decode
from contracts.documents import CollectionName, DocumentId, IngestMessage
from services.persistence.events import CollectionDeleted, DeleteAccepted, MessageEvent, Refused, UpsertAccepted
from shared.errors import InvalidMessage

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
# Up to a terabyte: of these a database can add up millions.
MAX_SIZE_DIGITS: Final = 12

_DOCUMENT_ID: TypeAdapter[str] = TypeAdapter(DocumentId)
_COLLECTION: TypeAdapter[str] = TypeAdapter(CollectionName)


def read_message(
    tenant: str, revision: int, payload: bytes, at: datetime, headers: Mapping[str, str] = NO_HEADERS
) -> MessageEvent | CollectionDeleted | None:
    """Return what happened to what; None when the message does not even tell which document it is about."""
    try:
        message = decode(IngestMessage, payload)
    except DecodeError as error:
        return _refused(tenant, revision, payload, at, str(error))
    if message.op == "delete_collection":
        return CollectionDeleted(tenant=tenant, collection=message.collection, revision=revision, at=at)
    document_id = message.derived_id()
    if message.op == "delete":
        return DeleteAccepted(
            tenant=tenant, document_id=document_id, revision=revision, at=at, collection=message.collection
        )
    return UpsertAccepted(
        tenant=tenant,
        document_id=document_id,
        revision=revision,
        at=at,
        collection=message.collection,
        title=message.title,
        uri=message.uri,
        metadata=message.metadata,
        size_bytes=_size_of(message, headers),
    )


def object_of(payload: bytes) -> str | None:
    """Return the name of the object that holds the content of an ingestion message, None when none does."""
    try:
        return decode(IngestMessage, payload).object
    except DecodeError:
        return None


def _size_of(message: IngestMessage, headers: Mapping[str, str]) -> int:
    """Return the size of the content, or what is said of it: the parser will tell what it is."""
    if (size_bytes := message.inline_bytes) is not None:
        return size_bytes
    said = headers.get(subjects.HEADER_SIZE, "")
    return int(said) if said.isascii() and said.isdigit() and len(said) <= MAX_SIZE_DIGITS else 0


def _refused(tenant: str, revision: int, payload: bytes, at: datetime, message: str) -> Refused | None:
    fields = _fields_of(payload)
    document_id = _usable(_DOCUMENT_ID, fields.get("id"))
    if document_id is None:
        return None
    return Refused(
        tenant=tenant,
        document_id=document_id,
        revision=revision,
        at=at,
        code=InvalidMessage.code,
        message=message,
        collection=_usable(_COLLECTION, fields.get("collection")),
    )


def _fields_of(payload: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _usable(kind: TypeAdapter[str], value: Any) -> str | None:
    try:
        return kind.validate_python(value, strict=True)
    except ValidationError:
        return None
