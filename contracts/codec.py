"""Messages to bytes and back: JSON, and msgpack for what carries vectors."""

from typing import Any, Final, TypeVar

import msgpack
from pydantic import ValidationError

from contracts import subjects
from contracts.chunks import ChunksEmbedded
from contracts.messages import Message
from contracts.retrieval import EmbedReply

M = TypeVar("M", bound=Message)

BINARY_MESSAGES: Final[tuple[type[Message], ...]] = (ChunksEmbedded, EmbedReply)
MAX_REASON_CHARACTERS: Final = 500


class DecodeError(ValueError):
    """Bytes that are not the message they should be; `field` names the part that is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


def content_type(message: type[Message]) -> str:
    """Return the Content-Type that a message travels under."""
    return subjects.CONTENT_TYPE_MSGPACK if issubclass(message, BINARY_MESSAGES) else subjects.CONTENT_TYPE_JSON


def encode(message: Message) -> bytes:
    """Return the bytes of a message; fields that were left at their default are left out of JSON."""
    if isinstance(message, BINARY_MESSAGES):
        packed: bytes = msgpack.packb(message.model_dump(mode="python"), use_bin_type=True)
        return packed
    return message.model_dump_json(exclude_none=True).encode()


def decode(model: type[M], payload: bytes) -> M:
    """Return the message in `payload`; DecodeError names the first field that is wrong."""
    try:
        if issubclass(model, BINARY_MESSAGES):
            return model.model_validate(_unpack(payload))
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise first_problem(error) from None


def first_problem(error: ValidationError) -> DecodeError:
    """Return the first problem of a validation error in words that name the field."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in problem["loc"])
    reason = problem["msg"].removeprefix("Value error, ")
    return DecodeError(field, reason[:MAX_REASON_CHARACTERS])


def _unpack(payload: bytes) -> Any:
    try:
        return msgpack.unpackb(payload, raw=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise DecodeError("", f"not valid msgpack: {error}") from None
