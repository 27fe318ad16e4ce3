"""What an ingestion message means for its document, be the message valid or not."""

from datetime import datetime
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from contracts.codec import DecodeError, decode
from contracts.documents import CollectionName, DocumentId, IngestMessage
from services.persistence.events import CollectionDeleted, DeleteAccepted, MessageEvent, Refused, UpsertAccepted
from shared.errors import InvalidMessage

_DOCUMENT_ID: TypeAdapter[str] = TypeAdapter(DocumentId)
_COLLECTION: TypeAdapter[str] = TypeAdapter(CollectionName)


def read_message(tenant: str, revision: int, payload: bytes, at: datetime) -> MessageEvent | CollectionDeleted | None:
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
    )


def object_of(payload: bytes) -> str | None:
    """Return the name of the object that holds the content of an ingestion message, None when none does."""
    try:
        return decode(IngestMessage, payload).object
    except DecodeError:
        return None


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
